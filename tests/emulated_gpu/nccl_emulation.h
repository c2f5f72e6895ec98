// The emulated NCCL (nccl*.cc here) as tests see it. Programs see only the vendor's nccl.h: exactly
// the functions that Leasehold calls exist, anything else is a link error.
//
// Emulates communicators between threads and between processes of one machine, whose calls
// block; their operations run on the thread of the stream that they were given, and a peer that is
// missing makes them hang, on the stream, until the communicator is aborted. In detail, and as
// harsh as the library can be:
//   - making a communicator blocks until its ranks have come, and a first operation between ranks
//     until the peers issue theirs; ncclCommAbort from another thread ends the latter;
//   - a communicator takes memory of the device when it is made, and for each peer that it is
//     connected to, as much as its CTAs want; where there is none, ncclUnhandledCudaError;
//   - an operation holds as many of the device's processors as its communicator has CTAs (config
//     maxCTAs, else 16 of 64), also while it waits for peers (block_places.h);
//   - two threads in one communicator, memory that is not the device's, two ranks on one device,
//     more than one stream in a group: refused, reported;
//   - a send is done when its receiver has taken everything; sums have an order of their own; a
//     maximum or minimum drops NaN;
//   - ranks that disagree on an operation, and a process that died, show as an asynchronous error,
//     and the operation hangs all the same;
//   - ncclCommAbort waits until the other ranks have left too, or are dead.
// The memory between ranks has no name, so nothing is left behind whoever dies. At most 16 ranks.
#pragma once

#include <cstdint>
#include <string>

namespace leasehold::emulation {

// What goes wrong, of communicators made and operations issued from now on: "" for nothing, else
// ACTION@NAME:RANK:N, several with ';' between them. At the Nth call (from 0; a group counts once;
// the groups of `collectives` make the first to prove that their ranks are connected)
// of rank RANK in a communicator named NAME (ncclConfig_t.commName):
//   skip   nothing happens, and the call says that all is well
//   hang   this rank's operation never begins
//   error  the communicator gets the asynchronous error ncclSystemError, and the operation hangs
//   kill   the process kills itself
// LEASEHOLD_EMULATION_NCCL has the same form. Ends the program when it cannot be read.
void inject_nccl(const std::string& faults);

// Sets how many messages one group may have before it is refused; 2048 as in NCCL at first.
void set_nccl_messages_per_group(int most);

// How many communicators of this process were made and neither destroyed nor aborted to the end.
int num_nccl_communicators();

// Counts of what the program has asked of NCCL so far, in this process.
struct NcclCounts {
  int64_t communicators = 0;  // made
  int64_t operations = 0;     // a group counts once
  int64_t bytes = 0;          // of buffers that operations read: sent, gathered, reduced
  int64_t questions = 0;      // ncclCommGetAsyncError
};
NcclCounts nccl_counts();

}  // namespace leasehold::emulation
