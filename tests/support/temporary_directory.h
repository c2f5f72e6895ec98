// Makes a directory for each test, and removes it at the end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "runtime/base/check.h"

namespace leasehold {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "leasehold-XXXXXX").string();
    LEASEHOLD_CHECK(::mkdtemp(name.data()) != nullptr, "no temporary directory {}", name);
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace leasehold
