// What the benchmarks of whole models share: options for the model's size, random tokens, and the
// main program of a rank.
#pragma once

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "collectives/bootstrap.h"
#include "models/describe.h"
#include "runtime/data/loader.h"

namespace leasehold {

// --model, whose sizes the others replace: --family, --sequence, --layers, --hidden, --heads,
// --kv-heads, --ffn and --vocab.
void add_model_options(CLI::App& app, ModelConfig& model);

// Eight batches of random tokens. The file, which is made for it under `path`, is gone when this
// returns.
WindowLoader make_random_loader(const std::string& path, const ModelConfig& model,
                                int64_t sequences_of_batch);

// Parses the command line, completes the model and calls `measure` on every rank. Ends the program
// without MPI's own end after a failure: that would wait for lost peers.
int run_model_bench(CLI::App& app, ModelConfig& model, int argc, char** argv,
                    const std::function<Status(ProcessGroup&)>& measure);

}  // namespace leasehold
