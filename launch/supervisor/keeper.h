// The parent of one mpirun (`leasehold keeper`, started by the supervisor): it outlives a
// supervisor that is killed, and writes down how mpirun ended. In generations/N it leaves
//   keeper.json   who it is (process_identity.h); created exclusively, so that a generation has one
//                 keeper at most, and none when a supervisor took that name first
//   output.log    what mpirun and the ranks wrote
//   outcome.json  how mpirun ended (outcome.h)
#pragma once

#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

std::string keeper_path(const std::string& generation_dir);
std::string output_path(const std::string& generation_dir);
std::string outcome_path(const std::string& generation_dir);

struct KeeperOptions {
  std::string generation_dir;
  std::vector<std::string> command;  // mpirun and its arguments
  double end_grace_s = 5;            // between SIGINT and SIGKILL
};

// Runs `command` in this process's session, which must be its own (setsid), with stdin from
// /dev/null and output to output.log, until it ends; then ends what is left of the session and
// publishes the outcome. Single-threaded; takes over the process's signals:
//   SIGUSR1          goes on to the command, which passes it to every rank: drain
//   SIGTERM, SIGHUP  the same: a machine or a service that stops sends them to all processes at
//                    once, and state is saved while there is time
//   SIGINT           the command gets SIGINT, and SIGKILL with all of its session when it has not
//                    ended `end_grace_s` later
// The command runs with SIGTERM blocked, since an mpirun that gets one ends its ranks in the middle
// of their saves; ranks are started without that. It gets SIGINT when this process dies. kBadConfig when the generation has a keeper;
// kStorage when the files cannot be written.
Status run_keeper(FileSystem& files, const KeeperOptions& options);

}  // namespace leasehold
