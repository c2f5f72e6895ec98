// Tells launchers apart by the output of `mpirun --version`.
#include <fmt/format.h>

#include "launch/launchers/launcher.h"

namespace leasehold {

namespace {

constexpr size_t kShownBytes = 100;

std::string_view first_line_with_text(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return text.substr(0, std::min(text.find_first_of("\r\n"), kShownBytes));
}

// Returns the first word after `key` in `text`; "" without the key.
std::string version_after(std::string_view text, std::string_view key) {
  const auto behind = text_behind(text, key);
  return behind ? std::string(host_word(first_line_with_text(*behind))) : "";
}

}  // namespace

Result<std::unique_ptr<Launcher>> recognize_launcher(const std::string& mpirun,
                                                     std::string_view version_text) {
  // mpiexec of Open MPI 4 names itself after ORTE.
  for (const char* name : {"(Open MPI) ", "(OpenRTE) "}) {
    const std::string version = version_after(version_text, name);
    if (version.starts_with("4.")) return create_open_mpi_4(version);
    if (version.starts_with("5.")) return create_open_mpi_5(version);
  }
  if (version_text.find("HYDRA build details") != std::string_view::npos) {
    const std::string version = version_after(version_text, "Version:");
    if (version.starts_with("4.") || version.starts_with("5.")) return create_mpich(version);
  }
  std::string found(first_line_with_text(version_text));
  const std::string version = version_after(version_text, "Version:");
  if (!version.empty() && found.find(version) == std::string::npos) found += " " + version;
  return error(
      Code::kBadConfig,
      "`{} --version` says \"{}\": `leasehold launch` knows mpirun of Open MPI 4 and 5 and of "
      "MPICH 4 and 5; name one of them with launch.mpirun, or start the job with plain "
      "mpirun",
      mpirun, found);
}

}  // namespace leasehold
