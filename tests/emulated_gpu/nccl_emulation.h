// The emulated NCCL (nccl*.cc here) as tests see it. Programs see only the vendor's nccl.h: exactly
// the functions that Leasehold calls exist, anything else is a link error.
//
// What is emulated: communicators between threads and between processes of one machine, always
// non-blocking; their operations run on the thread of the stream that they were given, and a peer
// that is missing makes them hang, on the stream, until the communicator is aborted. In detail, and
// as harsh as the library can be:
//   - a call returns ncclInProgress, and enqueues nothing, before ncclCommGetAsyncError was asked
//     at least twice and the peers of a first operation between two ranks have issued theirs;
//   - a communicator that is still in progress, two threads in one communicator, memory that is
//     not the device's, two ranks on one device, more than one stream in a group: refused,
//     reported;
//   - a send is done when its receiver has taken everything; sums have an order of their own; a
//     maximum or minimum drops NaN;
//   - ranks that disagree on an operation, and a process that died, show as an asynchronous error,
//     and the operation hangs all the same;
//   - ncclCommAbort waits until the other ranks have left too, or are dead.
// The memory between ranks has no name, so nothing is left behind whoever dies. At most 16 ranks.
#pragma once

#include <string>

namespace leasehold::emulation {

// What goes wrong, of communicators made and operations issued from now on: "" for nothing, else
// ACTION@NAME:RANK:N, several with ';' between them. At the Nth call (from 0; a group counts once)
// of rank RANK in a communicator named NAME (ncclConfig_t.commName):
//   skip   nothing happens, and the call says that all is well
//   hang   this rank's operation never begins
//   error  the communicator gets the asynchronous error ncclSystemError
//   kill   the process kills itself
// LEASEHOLD_EMULATION_NCCL has the same form. Ends the program when it cannot be read.
void inject_nccl(const std::string& faults);

// How many communicators of this process were made and neither destroyed nor aborted to the end.
int num_nccl_communicators();

}  // namespace leasehold::emulation
