#include "tests/support/faulty_files.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "runtime/base/check.h"

namespace leasehold {

// A file or a directory, with its present state and the state after a crash.
struct FaultyFiles::Node {
  bool is_directory = false;
  std::string content;
  std::string synced_content;
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> synced_entries;
  int64_t locked_in = -1;  // the uptime at which the lock was taken
  std::string owner;
};

namespace {

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") names.push_back(name);
    begin = end + 1;
  }
  return names;
}

std::string last_name(const std::string& path) {
  const std::vector<std::string> names = split(path);
  return names.empty() ? "" : names.back();
}

thread_local bool next_append_fails = false;

Status no_such_file(const std::string& path) {
  return error(Code::kMissingInput, "opening {}: No such file or directory", path);
}

}  // namespace

class FaultyFiles::Reader : public ReadableFile {
 public:
  Reader(FaultyFiles& files, std::string path, NodePtr node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}
  int64_t size_bytes() const override {
    const std::scoped_lock lock(files_.mutex_);
    return std::ssize(node_->content);
  }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.down(path_));
    if (files_.reads_until_failure_ >= 0 && files_.reads_until_failure_-- == 0) {
      return error(Code::kStorage, "reading {}: Input/output error", path_);
    }
    if (offset + size_bytes > std::ssize(node_->content)) {
      return error(Code::kBadData, "{}: ends at byte {} (truncated?)", path_,
                   node_->content.size());
    }
    std::memcpy(out, node_->content.data() + offset, static_cast<size_t>(size_bytes));
    return ok_status();
  }

 private:
  FaultyFiles& files_;
  std::string path_;
  NodePtr node_;
};

class FaultyFiles::Mapping : public MappedFile {
 public:
  explicit Mapping(std::string content) : content_(std::move(content)) {}
  const void* data() const override { return content_.data(); }
  int64_t size_bytes() const override { return std::ssize(content_); }

 private:
  std::string content_;
};

class FaultyFiles::Writer : public WritableFile {
 public:
  Writer(FaultyFiles& files, std::string path, NodePtr node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}
  Status append(const void* data, int64_t size_bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    return files_.append(*node_, path_,
                         {static_cast<const char*>(data), static_cast<size_t>(size_bytes)});
  }
  Status overwrite(int64_t offset, const void* data, int64_t size_bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.change("writing", path_));
    LEASEHOLD_CHECK(offset >= 0 && offset + size_bytes <= std::ssize(node_->content),
                    "{}: overwriting {} bytes at {}", path_, size_bytes, offset);
    std::memcpy(node_->content.data() + offset, data, static_cast<size_t>(size_bytes));
    return ok_status();
  }
  Status sync() override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.change("syncing", path_));
    node_->synced_content = node_->content;
    return ok_status();
  }
  Status close() override {
    const std::scoped_lock lock(files_.mutex_);
    return files_.change("closing", path_);
  }

 private:
  FaultyFiles& files_;
  std::string path_;
  NodePtr node_;
};

class FaultyFiles::Directory : public OpenDirectory {
 public:
  Directory(FaultyFiles& files, std::string path, NodePtr node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}
  Result<std::vector<std::string>> list() override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.down(path_));
    std::vector<std::string> names;
    for (const auto& [name, child] : node_->entries) names.push_back(name);
    return names;
  }
  Result<std::string> read(const std::string& name, int64_t limit_bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.down(path_));
    const auto entry = node_->entries.find(name);
    if (entry == node_->entries.end()) return no_such_file(join_path(path_, name));
    Reader reader(files_, join_path(path_, name), entry->second);
    return read_whole(reader, join_path(path_, name), limit_bytes);
  }
  Status remove(const std::string& name) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.down(path_));
    if (!node_->entries.contains(name)) return ok_status();
    return files_.remove_entry(*node_, name, join_path(path_, name));
  }
  Status sync() override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.change("syncing", path_));
    node_->synced_entries = node_->entries;
    return ok_status();
  }
  Status remove_name_if_empty() override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.change("removing", path_));
    const NodePtr named = files_.find(path_);
    if (named == nullptr || !named->is_directory || !named->entries.empty()) return ok_status();
    files_.find(parent_path(path_))->entries.erase(last_name(path_));
    return ok_status();
  }

 private:
  FaultyFiles& files_;
  std::string path_;
  NodePtr node_;
};

class FaultyFiles::Log : public LogFile {
 public:
  Log(FaultyFiles& files, std::string path, NodePtr node)
      : files_(files), path_(std::move(path)), node_(std::move(node)) {}
  Status append_at(int64_t size_bytes, std::string_view bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(expect_size(size_bytes));
    return files_.append(*node_, path_, bytes);
  }
  Status cut(int64_t size_bytes, int64_t to_bytes) override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(expect_size(size_bytes));
    LEASEHOLD_RETURN_IF_ERROR(files_.change("truncating", path_));
    node_->content.resize(static_cast<size_t>(to_bytes));
    return ok_status();
  }
  Status sync() override {
    const std::scoped_lock lock(files_.mutex_);
    LEASEHOLD_RETURN_IF_ERROR(files_.change("syncing", path_));
    node_->synced_content = node_->content;
    return ok_status();
  }

 private:
  Status expect_size(int64_t size_bytes) const {
    LEASEHOLD_RETURN_IF_ERROR(files_.down(path_));
    if (std::ssize(node_->content) == size_bytes) return ok_status();
    return error(Code::kBadConfig, "{} has {} bytes where {} are expected", path_,
                 node_->content.size(), size_bytes);
  }

  FaultyFiles& files_;
  std::string path_;
  NodePtr node_;
};

class FaultyFiles::Lock : public FileLock {
 public:
  Lock(FaultyFiles& files, NodePtr node)
      : files_(files), node_(std::move(node)), uptime_(files.uptime_) {}
  ~Lock() override {
    const std::scoped_lock lock(files_.mutex_);
    if (node_->locked_in == uptime_) node_->locked_in = -1;
  }

 private:
  FaultyFiles& files_;
  NodePtr node_;
  int64_t uptime_;
};

FaultyFiles::FaultyFiles(uint64_t seed) : random_(seed), root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}
FaultyFiles::~FaultyFiles() = default;

// --- Faults ---

void FaultyFiles::set_capacity(int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  capacity_bytes_ = bytes;
}
int64_t FaultyFiles::used_bytes() const {
  const std::scoped_lock lock(mutex_);
  return used_bytes(*root_);
}
void FaultyFiles::remove_capacity_limit() { set_capacity(INT64_MAX); }
int64_t FaultyFiles::num_changes() const {
  const std::scoped_lock lock(mutex_);
  return num_changes_;
}
void FaultyFiles::fail_change(int64_t n) {
  const std::scoped_lock lock(mutex_);
  failing_change_ = n;
}
void FaultyFiles::fail_next_append_here() { next_append_fails = true; }
void FaultyFiles::crash_at_change(int64_t n) {
  const std::scoped_lock lock(mutex_);
  crashing_change_ = n;
}
void FaultyFiles::fail_read(int64_t n) {
  const std::scoped_lock lock(mutex_);
  reads_until_failure_ = n;
}
void FaultyFiles::crash_now() {
  const std::scoped_lock lock(mutex_);
  down_ = true;
}
bool FaultyFiles::is_down() const {
  const std::scoped_lock lock(mutex_);
  return down_;
}

void FaultyFiles::restart(Loss loss) {
  const std::scoped_lock lock(mutex_);
  if (loss != Loss::kNothing) lose(*root_, loss);
  down_ = false;
  failing_change_ = crashing_change_ = reads_until_failure_ = -1;
  ++uptime_;
}

void FaultyFiles::lose(Node& node, Loss loss) {
  const bool keep_names = loss == Loss::kRandom && random_() % 2 == 0;
  if (!keep_names) node.entries = node.synced_entries;
  node.synced_entries = node.entries;
  std::string survives = node.synced_content;
  if (loss == Loss::kRandom && random_() % 2 == 0) {
    survives = node.content;
    if (node.content.size() > node.synced_content.size()) {
      survives.resize(node.synced_content.size() +
                      random_() % (node.content.size() - node.synced_content.size() + 1));
    }
  }
  node.content = node.synced_content = survives;
  for (auto& [name, child] : node.entries) lose(*child, loss);
}

Status FaultyFiles::down(const std::string& path) const {
  return down_ ? error(Code::kStorage, "{}: the machine is down", path) : ok_status();
}

Status FaultyFiles::change(const std::string& what, const std::string& path) {
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  const int64_t number = num_changes_++;
  if (number == crashing_change_) {
    down_ = true;
    return down(path);
  }
  if (number == failing_change_)
    return error(Code::kStorage, "{} {}: Input/output error", what, path);
  return ok_status();
}

Status FaultyFiles::append(Node& node, const std::string& path, std::string_view bytes) {
  Status status = change("writing", path);
  if (status.ok() && std::exchange(next_append_fails, false))
    status = error(Code::kStorage, "writing {}: Input/output error", path);
  if (!status.ok()) {
    node.content += bytes.substr(0, bytes.size() / 2);
    return status;
  }
  const int64_t room = std::max<int64_t>(0, capacity_bytes_ - used_bytes(*root_));
  node.content += bytes.substr(0, static_cast<size_t>(std::min<int64_t>(room, std::ssize(bytes))));
  return std::ssize(bytes) <= room
             ? ok_status()
             : error(Code::kStorage, "writing {}: No space left on device", path);
}

int64_t FaultyFiles::used_bytes(const Node& node) const {
  int64_t used = std::ssize(node.content);
  for (const auto& [name, child] : node.entries) used += used_bytes(*child);
  return used;
}

// --- Inspection ---

std::string FaultyFiles::content(const std::string& path) const {
  const std::scoped_lock lock(mutex_);
  const NodePtr node = find_file(path);
  LEASEHOLD_CHECK(node != nullptr, "no file {}", path);
  return node->content;
}

void FaultyFiles::set_content(const std::string& path, std::string_view content) {
  const std::scoped_lock lock(mutex_);
  NodePtr node = root_;
  for (const std::string& name : split(path)) {
    node->is_directory = true;
    NodePtr& child = node->entries[name];
    if (child == nullptr) child = std::make_shared<Node>();
    node->synced_entries[name] = child;
    node = child;
  }
  node->content = node->synced_content = content;
}

void FaultyFiles::flip_bit(const std::string& path, int64_t bit) {
  const std::scoped_lock lock(mutex_);
  const NodePtr node = find_file(path);
  LEASEHOLD_CHECK(node != nullptr && bit / 8 < std::ssize(node->content), "no bit {} in {}", bit,
                  path);
  char& byte = node->content[static_cast<size_t>(bit / 8)];
  byte = static_cast<char>(byte ^ (1 << (bit % 8)));
  node->synced_content = node->content;
}

// --- The file system ---

FaultyFiles::NodePtr FaultyFiles::find(const std::string& path) const {
  NodePtr node = root_;
  for (const std::string& name : split(path)) {
    const auto entry = node->entries.find(name);
    if (!node->is_directory || entry == node->entries.end()) return nullptr;
    node = entry->second;
  }
  return node;
}

FaultyFiles::NodePtr FaultyFiles::find_file(const std::string& path) const {
  const NodePtr node = find(path);
  return node != nullptr && !node->is_directory ? node : nullptr;
}

Result<FaultyFiles::NodePtr> FaultyFiles::find_directory_of(const std::string& path) const {
  const NodePtr node = find(parent_path(path));
  if (node != nullptr && node->is_directory) return node;
  return error(Code::kStorage, "creating {}: No such file or directory", path);
}

Result<FaultyFiles::NodePtr> FaultyFiles::create_node(const std::string& path) {
  LEASEHOLD_RETURN_IF_ERROR(change("creating", path));
  LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr directory, find_directory_of(path));
  NodePtr& node = directory->entries[last_name(path)];
  if (node != nullptr && node->is_directory)
    return error(Code::kStorage, "creating {}: Is a directory", path);
  if (node == nullptr) node = std::make_shared<Node>();
  return node;
}

Result<std::unique_ptr<ReadableFile>> FaultyFiles::open(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  const NodePtr node = find_file(path);
  if (node == nullptr) return no_such_file(path);
  return std::unique_ptr<ReadableFile>(new Reader(*this, path, node));
}

Result<std::unique_ptr<MappedFile>> FaultyFiles::map(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  const NodePtr node = find_file(path);
  if (node == nullptr) return no_such_file(path);
  return std::unique_ptr<MappedFile>(new Mapping(node->content));
}

Result<std::unique_ptr<WritableFile>> FaultyFiles::create(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr node, create_node(path));
  node->content.clear();
  return std::unique_ptr<WritableFile>(new Writer(*this, path, node));
}

Status FaultyFiles::create_exclusive(const std::string& path, std::string_view content) {
  const std::scoped_lock lock(mutex_);
  const std::string temporary = fmt::format("{}.{:06}", path, next_temporary_++);
  const auto write = [&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, create(temporary));
    LEASEHOLD_RETURN_IF_ERROR(file->append(content.data(), std::ssize(content)));
    LEASEHOLD_RETURN_IF_ERROR(file->sync());
    LEASEHOLD_RETURN_IF_ERROR(change("linking", path));
    if (find(path) != nullptr) return error(Code::kBadConfig, "{} exists already", path);
    LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr directory, find_directory_of(path));
    directory->entries[last_name(path)] = directory->entries.at(last_name(temporary));
    return ok_status();
  };
  const Status written = write();
  if (change("unlinking", temporary).ok()) {
    const Result<NodePtr> directory = find_directory_of(temporary);
    if (directory.ok()) directory.value()->entries.erase(last_name(temporary));
  }
  LEASEHOLD_RETURN_IF_ERROR(written);
  return sync_directory(parent_path(path));
}

Status FaultyFiles::append_line(const std::string& path, std::string_view line) {
  const std::scoped_lock lock(mutex_);
  NodePtr node = find_file(path);
  if (node == nullptr) {
    LEASEHOLD_ASSIGN_OR_RETURN(node, create_node(path));
  }
  const size_t size_before = node->content.size();
  Status appended = append(*node, path, line);
  if (!appended.ok() && !down_) node->content.resize(size_before);
  return appended;
}

Result<std::unique_ptr<LogFile>> FaultyFiles::open_log(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  NodePtr node = find_file(path);
  if (node == nullptr) {
    LEASEHOLD_ASSIGN_OR_RETURN(node, create_node(path));
  }
  return std::unique_ptr<LogFile>(new Log(*this, path, node));
}

Status FaultyFiles::rename(const std::string& from, const std::string& to) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(change("renaming", from));
  LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr source, find_directory_of(from));
  LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr target, find_directory_of(to));
  const auto entry = source->entries.find(last_name(from));
  if (entry == source->entries.end()) {
    return error(Code::kStorage, "renaming {} to {}: No such file or directory", from, to);
  }
  const NodePtr replaced = find(to);
  if (replaced != nullptr &&
      (replaced->is_directory != entry->second->is_directory || !replaced->entries.empty())) {
    const bool holds_something = replaced->is_directory && entry->second->is_directory;
    return error(holds_something ? Code::kBadConfig : Code::kStorage,
                 "renaming {} to {}: Directory not empty", from, to);
  }
  const NodePtr moved = entry->second;
  source->entries.erase(entry);
  target->entries[last_name(to)] = moved;
  return ok_status();
}

Status FaultyFiles::sync_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(change("syncing", path));
  const NodePtr node = find(path);
  if (node == nullptr || !node->is_directory)
    return error(Code::kStorage, "opening {}: No such directory", path);
  node->synced_entries = node->entries;
  return ok_status();
}

Status FaultyFiles::make_directories(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  NodePtr node = root_;
  for (const std::string& name : split(path)) {
    if (!node->is_directory)
      return error(Code::kStorage, "creating directory {}: Not a directory", path);
    NodePtr& child = node->entries[name];
    if (child == nullptr) {
      Status status = change("creating directory", path);
      if (!status.ok()) {
        node->entries.erase(name);
        return status;
      }
      child = std::make_shared<Node>();
      child->is_directory = true;
    }
    node = child;
  }
  return node->is_directory ? ok_status()
                            : error(Code::kStorage, "creating directory {}: File exists", path);
}

Status FaultyFiles::remove_entry(Node& directory, const std::string& name,
                                 const std::string& path) {
  const NodePtr node = directory.entries.at(name);
  while (!node->entries.empty()) {
    LEASEHOLD_RETURN_IF_ERROR(remove_entry(*node, std::string(node->entries.begin()->first), path));
  }
  LEASEHOLD_RETURN_IF_ERROR(change("removing", path));
  directory.entries.erase(name);
  return ok_status();
}

Status FaultyFiles::remove_all(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  if (find(path) == nullptr) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(const NodePtr directory, find_directory_of(path));
  return remove_entry(*directory, last_name(path), path);
}

bool FaultyFiles::exists(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  return !down_ && find(path) != nullptr;
}

Result<std::vector<std::string>> FaultyFiles::list(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  const NodePtr node = find(path);
  if (node == nullptr || !node->is_directory) return no_such_file(path);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

Result<std::unique_ptr<OpenDirectory>> FaultyFiles::open_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  const NodePtr node = find(path);
  if (node == nullptr || !node->is_directory) return no_such_file(path);
  return std::unique_ptr<OpenDirectory>(new Directory(*this, path, node));
}

Result<std::unique_ptr<FileLock>> FaultyFiles::lock(const std::string& path,
                                                    std::string_view owner) {
  const std::scoped_lock guard(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(down(path));
  NodePtr node = find_file(path);
  if (node == nullptr) {
    LEASEHOLD_ASSIGN_OR_RETURN(node, create_node(path));
  }
  if (node->locked_in == uptime_)
    return error(Code::kBadConfig, "{} is held by {}", path, node->owner);
  node->locked_in = uptime_;
  node->owner = owner;
  node->content = owner;
  return std::unique_ptr<FileLock>(new Lock(*this, node));
}

}  // namespace leasehold
