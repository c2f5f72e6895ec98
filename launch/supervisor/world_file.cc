#include "launch/supervisor/world_file.h"

#include "launch/supervisor/world_json.h"

namespace leasehold {

namespace {

using nlohmann::ordered_json;

constexpr int kWorldDepth = 3;  // world, hosts, host
constexpr int64_t kMaxWorldBytes = int64_t{16} << 20;
constexpr int64_t kMaxSlots = 1 << 20;
constexpr double kLatest = 1e12;  // far behind any lease's end

std::string world_path(const std::string& run_dir, int64_t generation) {
  return join_path(generation_directory(run_dir, generation), "world.json");
}

Result<PlannedHost> parse_host(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(
      at.expect_fields({"host", "slots", "lease", "end_s", "provider", "site"}));
  PlannedHost host;
  LEASEHOLD_ASSIGN_OR_RETURN(host.host, at.field("host").string());
  LEASEHOLD_ASSIGN_OR_RETURN(host.slots, at.field("slots").integer(1, kMaxSlots));
  LEASEHOLD_ASSIGN_OR_RETURN(host.lease, at.field("lease").string());
  LEASEHOLD_ASSIGN_OR_RETURN(host.end_s, parse_moment(at.field("end_s")));
  LEASEHOLD_ASSIGN_OR_RETURN(host.provider, at.field("provider").string());
  LEASEHOLD_ASSIGN_OR_RETURN(host.site, at.field("site").string());
  return host;
}

}  // namespace

int64_t WorldFile::world() const {
  int64_t ranks = 0;
  for (const PlannedHost& host : hosts) ranks += host.slots;
  return ranks;
}

std::string generation_directory(const std::string& run_dir, int64_t generation) {
  return join_path(join_path(run_dir, "generations"), std::to_string(generation));
}

ordered_json encode_moment(double unix_s) {
  return unix_s == kNever ? ordered_json(nullptr) : ordered_json(unix_s);
}

Result<double> parse_moment(const JsonCursor& at) {
  if (at.is_null()) return kNever;
  return at.number(-kLatest, kLatest);
}

ordered_json encode_hosts(const std::vector<PlannedHost>& hosts) {
  ordered_json list = ordered_json::array();
  for (const PlannedHost& host : hosts) {
    list.push_back({{"host", host.host},
                    {"slots", host.slots},
                    {"lease", host.lease},
                    {"end_s", encode_moment(host.end_s)},
                    {"provider", host.provider},
                    {"site", host.site}});
  }
  return list;
}

Result<std::vector<PlannedHost>> parse_hosts(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  std::vector<PlannedHost> hosts;
  for (size_t i = 0; i < at.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(PlannedHost host, parse_host(at.element(i)));
    hosts.push_back(std::move(host));
  }
  return hosts;
}

std::string encode_world(const WorldFile& world) {
  const ordered_json object = {{"generation", world.generation},
                               {"world", world.world()},
                               {"hosts", encode_hosts(world.hosts)}};
  return object.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<WorldFile> parse_world(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto json, parse_strict_json(text, file, kWorldDepth));
  const JsonCursor root(json, file);
  LEASEHOLD_RETURN_IF_ERROR(root.expect_fields({"generation", "world", "hosts"}));
  WorldFile world;
  LEASEHOLD_ASSIGN_OR_RETURN(world.generation, root.field("generation").integer(1));
  LEASEHOLD_ASSIGN_OR_RETURN(world.hosts, parse_hosts(root.field("hosts")));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t ranks, root.field("world").integer(1));
  if (ranks != world.world()) {
    return root.field("world").bad(
        fmt::format("{} ranks, but the hosts have {} slots", ranks, world.world()));
  }
  return world;
}

Status write_world(FileSystem& files, const std::string& run_dir, const WorldFile& world) {
  const std::string path = world_path(run_dir, world.generation);
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(parent_path(path)));
  return publish_file(files, path, encode_world(world), "supervisor");
}

Result<WorldFile> read_world(FileSystem& files, const std::string& run_dir, int64_t generation) {
  const std::string path = world_path(run_dir, generation);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxWorldBytes));
  LEASEHOLD_ASSIGN_OR_RETURN(WorldFile world, parse_world(text, path));
  if (world.generation != generation) {
    return error(Code::kBadData, "{}: it is of generation {}", path, world.generation);
  }
  return world;
}

}  // namespace leasehold
