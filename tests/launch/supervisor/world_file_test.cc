#include "launch/supervisor/world_file.h"

#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

WorldFile make_world() {
  WorldFile world{.generation = 4, .hosts = planned_hosts({"a", "b.example"})};
  world.hosts[0].end_s = kStartS + 0.1;
  world.hosts[1].provider = "north";
  world.hosts[1].site = "hall 3";
  world.hosts[1].slots = 3;
  return world;
}

TEST(WorldFile, ComesBackAsItWas) {
  TemporaryDirectory directory;
  ASSERT_TRUE(write_world(posix_files(), directory.path(), make_world()).ok());
  const auto world = read_world(posix_files(), directory.path(), 4);
  ASSERT_TRUE(world.ok()) << world.status().message();
  EXPECT_EQ(world->generation, 4);
  EXPECT_EQ(world->world(), 5);
  EXPECT_EQ(world->hosts, make_world().hosts);
  EXPECT_EQ(world->hosts[1].end_s, kNever);
}

TEST(WorldFile, IsMissingWhereNoSupervisorStartedTheGeneration) {
  TemporaryDirectory directory;
  EXPECT_EQ(read_world(posix_files(), directory.path(), 1).status().code(), Code::kMissingInput);
}

TEST(WorldFile, RefusesWhatIsDamaged) {
  const std::string text = encode_world(make_world());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    return parse_world(changed, "world.json").status().message();
  };
  EXPECT_NE(replaced("\"world\": 5", "\"world\": 6").find("world: 6 ranks"), std::string::npos);
  EXPECT_NE(replaced("\"slots\": 2", "\"slots\": 0").find("hosts[0].slots"), std::string::npos);
  EXPECT_NE(replaced("\"end_s\": null", "\"end_s\": \"x\"").find("hosts[1].end_s"),
            std::string::npos);
  EXPECT_NE(replaced("\"site\"", "\"sight\"").find("site"), std::string::npos);
  EXPECT_EQ(parse_world(text.substr(0, text.size() / 2), "w").status().code(), Code::kBadData);

  TemporaryDirectory directory;
  ASSERT_TRUE(write_world(posix_files(), directory.path(), make_world()).ok());
  ASSERT_TRUE(posix_files()
                  .rename(generation_directory(directory.path(), 4),
                          generation_directory(directory.path(), 5))
                  .ok());
  EXPECT_NE(read_world(posix_files(), directory.path(), 5).status().message().find("generation 4"),
            std::string::npos);
}

}  // namespace
}  // namespace leasehold
