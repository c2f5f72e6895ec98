#include "launch/launchers/open_mpi.h"

#include <fmt/format.h>

namespace leasehold {

namespace {

// Returns 2 for "[[31377,1],2]" (ORTE) and for "[prterun-node-4711@1,2]" (PRRTE).
std::optional<int64_t> rank_of_process_name(std::string_view name) {
  const size_t comma = name.rfind(',');
  if (comma == std::string_view::npos || name.find(']', comma) == std::string_view::npos) {
    return std::nullopt;
  }
  return leading_number(name.substr(comma + 1));
}

// Reads a line of the report on a program that could not be started. Returns false for other lines.
bool read_no_program(std::string_view line, FailureReader& reader) {
  if (const auto program = text_behind(line, "Executable: ")) {
    reader.launcher_said(fmt::format("{} is not there, or cannot be started", host_word(*program)));
  } else if (const auto node = text_behind(line, "Node: ")) {
    reader.report().host = reader.calendar_name(host_word(*node));
  } else if (const auto later = text_behind(line, "to start process rank ")) {
    reader.report().rank = leading_number(*later);
  } else if (line.starts_with("rank ")) {
    reader.report().rank = leading_number(line.substr(5));
  } else {
    return false;
  }
  return true;
}

}  // namespace

void OpenMpiLines::read(std::string_view line, std::string_view next, FailureReader& reader) {
  if (const auto rank = text_behind(line, "noticed that process rank ")) {
    reader.report().rank = leading_number(*rank);
    // PRRTE breaks the sentence where it gets too long.
    const bool is_broken = line.find("signal") == std::string_view::npos;
    reader.launcher_said(is_broken ? fmt::format("{} {}", line, next) : std::string(line));
  } else if (line.find("The first process to do so was:") != std::string_view::npos) {
    first_process_follows_ = true;
  } else if (const auto name = text_behind(line, "Process name: ");
             name && first_process_follows_) {
    reader.report().rank = rank_of_process_name(*name);
    first_process_follows_ = false;
  } else if (line.find("find the specified executable file") != std::string_view::npos ||
             line.find("launch the specified application") != std::string_view::npos) {
    reader.report().no_program = true;
  } else if (reader.report().no_program && read_no_program(line, reader)) {
  } else if (line.find("Remote daemon:") != std::string_view::npos) {
    if (const auto host = text_behind(line, " on node ")) reader.note_lost(host_word(*host));
  } else if (line.starts_with("ORTE ") || line.starts_with("PRTE ")) {
    lost_daemon_ = line.find("lost communication with a remote daemon") != std::string_view::npos;
    reader.launcher_said(line);
  }
}

Status check_open_mpi_program(const Launcher& launcher, std::string_view major,
                              std::string_view mpi_library) {
  if (const auto version = text_behind(mpi_library, "Open MPI v")) {
    if (version->substr(0, version->find('.')) == major) return ok_status();
  }
  return error(
      Code::kBadConfig,
      "the launcher is {}, but leasehold-train was built with \"{}\": each rank would train "
      "alone; name the mpirun of that MPI with launch.mpirun",
      launcher.name(), mpi_library.substr(0, mpi_library.find_first_of(",\n")));
}

}  // namespace leasehold
