// Defines the table of the job file's keys, and finds keys in it.
#include <algorithm>

#include "launch/job_schema.h"
#include "launch/nearest_name.h"
#include "models/head_rows.h"

namespace leasehold {

namespace {

template <typename Integer>
JobRange at_least(Integer low) {
  return {.low = static_cast<double>(low)};
}
JobRange above(double low) { return {.low = low, .low_excluded = true}; }
JobRange from_to(double low, double high) { return {.low = low, .high = high}; }
JobRange fraction_below_one() { return {.low = 0, .high = 1, .high_excluded = true}; }

// Steps and microbatches each select random numbers by 32 bits.
constexpr double kMaxSteps = 4294967295;
constexpr double kMaxSequences = 1 << 30;
constexpr double kMaxSeconds = 7 * 86400;
// More ranks than anybody has, but few enough that products of two of them are exact.
constexpr double kMaxRanks = 1 << 20;
constexpr double kMaxKept = 1 << 30;

// Runs that began before the key was known have the rows of then, and no word of it.
std::string head_rows_identity(const JobFile& job) {
  const int64_t earlier =
      earlier_head_rows(job.batch.microbatch * job.model.sequence,
                        std::max<int64_t>(1, job.model.vocab / job.parallel.tensor));
  if (job.batch.head_rows == earlier) return "";
  return fmt::format("{} ({} in versions that did not record it)", job.batch.head_rows, earlier);
}

#define LEASEHOLD_SLOT(member) [](JobFile& job) -> JobSlot { return &job.member; }

const JobKey kKeys[] = {
    {.table = "run",
     .name = "name",
     .slot = LEASEHOLD_SLOT(run.name),
     .meaning = "Names the run: letters, digits, `.`, `_` and `-`.",
     .computed_default = "the job file's name without `.toml`"},
    {.table = "run",
     .name = "dir",
     .slot = LEASEHOLD_SLOT(run.dir),
     .meaning = "Where metrics, events and checkpoints go. A run that is there already is resumed.",
     .required = true,
     .is_path = true},
    {.table = "run",
     .name = "steps",
     .slot = LEASEHOLD_SLOT(run.steps),
     .meaning = "Optimizer steps of the whole run; the learning rate's schedule ends there.",
     .required = true,
     .identity = true,
     .range = from_to(1, kMaxSteps)},
    {.table = "run",
     .name = "seed",
     .slot = LEASEHOLD_SLOT(run.seed),
     .meaning = "Decides initialisation, data order and dropout.",
     .identity = true,
     .range = at_least(0)},
    {.table = "run",
     .name = "start_from",
     .slot = LEASEHOLD_SLOT(run.start_from),
     .meaning =
         "Checkpoint of the same model (`leasehold import` makes one) whose weights a new run "
         "begins with, at step 0; a run that is resumed does not need it any more.",
     .is_path = true,
     .computed_default = "weights drawn from `run.seed`"},
    {.table = "run",
     .name = "identity",
     .slot = LEASEHOLD_SLOT(run.identity),
     .meaning = "What happens to a rank whose arithmetic differs from the others' or from the "
                "checkpoint's: the start is refused, or an event reports it.",
     .choices = {"refuse", "report"}},
    {.table = "run",
     .name = "validate_every_steps",
     .slot = LEASEHOLD_SLOT(run.validate_every_steps),
     .meaning = "Steps between two validations; 0 validates at the start and at the end only.",
     .range = from_to(0, kMaxSteps)},

    {.table = "model",
     .name = "family",
     .slot = LEASEHOLD_SLOT(model.family),
     .meaning = "The architecture.",
     .identity = true,
     .choices = {"gpt2", "llama"}},
    {.table = "model",
     .name = "layers",
     .slot = LEASEHOLD_SLOT(model.layers),
     .meaning = "Transformer blocks.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "hidden",
     .slot = LEASEHOLD_SLOT(model.hidden),
     .meaning = "Channels between blocks; a multiple of `model.heads`.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "heads",
     .slot = LEASEHOLD_SLOT(model.heads),
     .meaning = "Attention heads; they divide `model.hidden`.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "kv_heads",
     .slot = LEASEHOLD_SLOT(model.kv_heads),
     .meaning = "Heads of keys and values, which divide `model.heads`; for `gpt2` as many.",
     .identity = true,
     .range = at_least(1),
     .computed_default = "`model.heads`"},
    {.table = "model",
     .name = "ffn",
     .slot = LEASEHOLD_SLOT(model.ffn),
     .meaning = "Channels inside the feed-forward layer.",
     .identity = true,
     .range = at_least(1),
     .computed_default = "4 x `model.hidden`; for `llama` 8/3 x, rounded up to a multiple of 256"},
    {.table = "model",
     .name = "sequence",
     .slot = LEASEHOLD_SLOT(model.sequence),
     .meaning = "Tokens in a training window, the longest context.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "vocab",
     .slot = LEASEHOLD_SLOT(model.vocab),
     .meaning = "Token ids; at least the tokenizer's.",
     .identity = true,
     .range = at_least(1),
     .computed_default = "that of `tokenizer.json` beside `data.train`"},
    {.table = "model",
     .name = "dropout",
     .slot = LEASEHOLD_SLOT(model.dropout),
     .meaning = "Probability, for embeddings, attention and residual branches.",
     .identity = true,
     .range = fraction_below_one()},
    {.table = "model",
     .name = "norm_eps",
     .slot = LEASEHOLD_SLOT(model.norm_eps),
     .meaning = "Added to the variance that norms divide by the root of.",
     .identity = true,
     .identity_without = "1e-05",
     .range = {.low = 0, .high = 1, .low_excluded = true, .high_excluded = true}},
    {.table = "model",
     .name = "tied",
     .slot = LEASEHOLD_SLOT(model.tied),
     .meaning = "Whether the head multiplies by the token table; `gpt2` always does.",
     .identity = true,
     .identity_without = "true",
     .computed_default = "`true` for `gpt2`, `false` for `llama`"},
    {.table = "model",
     .name = "rope_theta",
     .slot = LEASEHOLD_SLOT(model.rope_theta),
     .meaning = "Base of the rotary positions' frequencies; `llama` only, as the following.",
     .identity = true,
     .identity_without = "0",
     .range = at_least(1),
     .computed_default = "10000"},
    {.table = "model",
     .name = "rope_factor",
     .slot = LEASEHOLD_SLOT(model.rope_factor),
     .meaning = "Llama-3's scaling of the slow frequencies, for contexts longer than those of the "
                "first training; 0 does not scale.",
     .identity = true,
     .identity_without = "0",
     .range = at_least(0)},
    {.table = "model",
     .name = "rope_low_freq_factor",
     .slot = LEASEHOLD_SLOT(model.rope_low_freq_factor),
     .meaning = "Frequencies that turn less often than this within `model.rope_original_sequence` "
                "are divided by `model.rope_factor`.",
     .identity = true,
     .identity_without = "1",
     .range = above(0)},
    {.table = "model",
     .name = "rope_high_freq_factor",
     .slot = LEASEHOLD_SLOT(model.rope_high_freq_factor),
     .meaning = "Those that turn more often than this stay; between the two they are blended.",
     .identity = true,
     .identity_without = "4",
     .range = above(0)},
    {.table = "model",
     .name = "rope_original_sequence",
     .slot = LEASEHOLD_SLOT(model.rope_original_sequence),
     .meaning = "The context that the scaling starts from.",
     .identity = true,
     .identity_without = "8192",
     .range = at_least(1)},

    {.table = "data",
     .name = "train",
     .slot = LEASEHOLD_SLOT(data.train),
     .meaning = "Token file to train on (`leasehold prepare` makes one).",
     .required = true,
     .is_path = true},
    {.table = "data",
     .name = "validation",
     .slot = LEASEHOLD_SLOT(data.validation),
     .meaning = "Token file to validate on, all of it each time.",
     .is_path = true,
     .computed_default = "no validation"},

    {.table = "batch",
     .name = "sequences",
     .slot = LEASEHOLD_SLOT(batch.sequences),
     .meaning = "Sequences in a step over all ranks; a multiple of `batch.microbatch`.",
     .required = true,
     .identity = true,
     .range = from_to(1, kMaxSequences)},
    {.table = "batch",
     .name = "microbatch",
     .slot = LEASEHOLD_SLOT(batch.microbatch),
     .meaning = "Sequences that one forward and backward takes at a time.",
     .identity = true,
     .range = from_to(1, kMaxSequences)},
    {.table = "batch",
     .name = "lanes",
     .slot = LEASEHOLD_SLOT(batch.lanes),
     .meaning =
         "Gradient sums that meet in a fixed tree: the largest number of data-parallel "
         "ranks. Divides the number of microbatches M = `batch.sequences` / "
         "`batch.microbatch`. Under ZeRO 0 and 1 a rank with n lanes keeps about log2(n) + 1 "
         "gradients of its part of the model: write fewer where memory is short.",
     .identity = true,
     .range = from_to(1, kMaxSequences),
     .computed_default = "M"},

    {.table = "batch",
     .name = "head_rows",
     .slot = LEASEHOLD_SLOT(batch.head_rows),
     .meaning = "Rows of a microbatch whose logits exist at a time; they decide the order of sums. "
                "More take memory, fewer take time. To continue a run that an earlier version "
                "began, write what the refusal names.",
     .identity = true,
     .identity_text = head_rows_identity,
     .range = at_least(1),
     .computed_default =
         "all; as many equal chunks of whole 128 rows as keep one within 2^26 logits, or within "
         "2048 rows and 2^28 logits, whichever is more"},
    {.table = "optimizer",
     .name = "lr",
     .slot = LEASEHOLD_SLOT(optimizer.lr),
     .meaning = "Learning rate after warm-up.",
     .required = true,
     .identity = true,
     .range = above(0)},
    {.table = "optimizer",
     .name = "min_lr",
     .slot = LEASEHOLD_SLOT(optimizer.min_lr),
     .meaning = "Learning rate at the end of the cosine; at most `optimizer.lr`.",
     .identity = true,
     .range = at_least(0),
     .computed_default = "`optimizer.lr` / 10"},
    {.table = "optimizer",
     .name = "warmup_steps",
     .slot = LEASEHOLD_SLOT(optimizer.warmup_steps),
     .meaning = "Steps over which the learning rate rises from 0; at most `run.steps`.",
     .identity = true,
     .range = from_to(0, kMaxSteps)},
    {.table = "optimizer",
     .name = "weight_decay",
     .slot = LEASEHOLD_SLOT(optimizer.weight_decay),
     .meaning = "AdamW's decay, of matrices only.",
     .identity = true,
     .range = at_least(0)},
    {.table = "optimizer",
     .name = "beta1",
     .slot = LEASEHOLD_SLOT(optimizer.beta1),
     .meaning = "Decay of the first moment.",
     .identity = true,
     .range = fraction_below_one()},
    {.table = "optimizer",
     .name = "beta2",
     .slot = LEASEHOLD_SLOT(optimizer.beta2),
     .meaning = "Decay of the second moment.",
     .identity = true,
     .range = fraction_below_one()},
    {.table = "optimizer",
     .name = "eps",
     .slot = LEASEHOLD_SLOT(optimizer.eps),
     .meaning = "Added to the root of the second moment.",
     .identity = true,
     .range = above(0)},
    {.table = "optimizer",
     .name = "grad_clip",
     .slot = LEASEHOLD_SLOT(optimizer.grad_clip),
     .meaning = "Largest norm of the whole gradient; 0 never clips.",
     .identity = true,
     .range = at_least(0)},
    {.table = "optimizer",
     .name = "nonfinite",
     .slot = LEASEHOLD_SLOT(optimizer.nonfinite),
     .meaning = "At a loss or gradient norm that is not finite `stop` saves the state before the "
                "step and leaves with 65. `skip` passes over it: data and learning rate advance, "
                "weights, moments and their corrections of bias do not, and its line has "
                "`skipped`.",
     .choices = {"stop", "skip"}},
    {.table = "optimizer",
     .name = "max_skipped_steps",
     .slot = LEASEHOLD_SLOT(optimizer.max_skipped_steps),
     .meaning = "With `optimizer.nonfinite = \"skip\"`: so many in a row are passed over, over "
                "restarts too; one more stops the run as `stop` does.",
     .range = from_to(1, kMaxSteps)},

    {.table = "parallel",
     .name = "tensor",
     .slot = LEASEHOLD_SLOT(parallel.tensor),
     .meaning = "Ranks that share each layer: must divide heads, kv_heads, ffn, vocab and the "
                "tokens of a microbatch.",
     .identity = true,
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "pipeline",
     .slot = LEASEHOLD_SLOT(parallel.pipeline),
     .meaning = "Stages that the layers are dealt to. Data parallelism takes the ranks that "
                "tensor x pipeline leave.",
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "chunks",
     .slot = LEASEHOLD_SLOT(parallel.chunks),
     .meaning = "Parts of the model per pipeline stage: more of them shorten the idle time at the "
                "ends of a step (interleaved 1F1B) and send more messages. pipeline x chunks must "
                "divide `model.layers`.",
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "schedule",
     .slot = LEASEHOLD_SLOT(parallel.schedule),
     .meaning = "`1f1b` keeps the activations of as many microbatches as stages follow; `gpipe` "
                "computes all forward, then all backward, and keeps those of every microbatch.",
     .choices = {"1f1b", "gpipe"}},
    {.table = "parallel",
     .name = "zero",
     .slot = LEASEHOLD_SLOT(parallel.zero),
     .meaning = "What is sharded over data-parallel ranks: 0 nothing, 1 optimizer state, 2 "
                "gradients too, 3 parameters too. 2 and 3 need `batch.lanes` to be the number of "
                "microbatches.",
     .range = from_to(0, 3)},
    {.table = "parallel",
     .name = "reduction",
     .slot = LEASEHOLD_SLOT(parallel.reduction),
     .meaning = "`canonical` sums in one order whatever the number of ranks; `fast` leaves the "
                "order to the library and gives that up.",
     .identity = true,
     .choices = {"canonical", "fast"}},
    {.table = "parallel",
     .name = "recompute",
     .slot = LEASEHOLD_SLOT(parallel.recompute),
     .meaning =
         "What backward computes again instead of keeping it: nothing; `attention`: queries, "
         "keys, values and what attention makes of them; `block`: everything but each "
         "block's input. The bits are the same.",
     .choices = {"none", "attention", "block"}},

    {.table = "device",
     .name = "kind",
     .slot = LEASEHOLD_SLOT(device.kind),
     .meaning = "What computes. `cuda` wants a build with CUDA and a GPU for each rank of a node: "
                "the one with the rank's number on it.",
     .choices = {"cpu", "cuda"}},
    {.table = "device",
     .name = "threads",
     .slot = LEASEHOLD_SLOT(device.threads),
     .meaning = "Threads of each rank; they do not change the result.",
     .range = from_to(1, 1024)},
    {.table = "device",
     .name = "precision",
     .slot = LEASEHOLD_SLOT(device.precision),
     .meaning =
         "Of activations and of the weights that are computed with and sent. Gradients, sums "
         "and what checkpoints hold are fp32 in either.",
     .identity = true,
     .choices = {"fp32", "bf16"}},
    {.table = "device",
     .name = "cpu_kernels",
     .slot = LEASEHOLD_SLOT(device.cpu_kernels),
     .meaning =
         "Kernel set of OpenBLAS, by which all ranks compute; sets give different bits. `auto`: "
         "the one that the run has been computed with, at its start the best that every rank's "
         "processor runs. A resumed run refuses another one.",
     .choices = {"auto", "SkylakeX", "Haswell", "Sandybridge", "Nehalem", "Prescott", "neoversev2",
                 "neoversen2", "neoversev1", "neoversen1", "armv8sve", "armv8", "Cooperlake",
                 "SapphireRapids", "Zen"}},
    {.table = "device",
     .name = "mode",
     .slot = LEASEHOLD_SLOT(device.mode),
     .meaning = "For tests: `asynchronous` runs CPU streams on threads of their own, with equal "
                "results.",
     .choices = {"inline", "asynchronous"}},
    {.table = "device",
     .name = "delay_seed",
     .slot = LEASEHOLD_SLOT(device.delay_seed),
     .meaning = "For tests: seeded delays of asynchronous streams; 0 means none.",
     .range = at_least(0)},

    {.table = "checkpoint",
     .name = "every_steps",
     .slot = LEASEHOLD_SLOT(checkpoint.every_steps),
     .meaning = "Steps between two checkpoints; 0 writes one at the end and when drained only.",
     .range = from_to(0, kMaxSteps)},
    {.table = "checkpoint",
     .name = "interval",
     .slot = LEASEHOLD_SLOT(checkpoint.interval),
     .meaning =
         "`steps`: checkpoints at every_steps; `auto`: as often as the measured time of a save "
         "and the failures so far make worth while (Young/Daly), which needs snapshots.",
     .choices = {"steps", "auto"},
     .computed_default = "`auto` with snapshots and without every_steps, else `steps`"},
    {.table = "checkpoint",
     .name = "keep",
     .slot = LEASEHOLD_SLOT(checkpoint.keep),
     .meaning = "How many checkpoints stay; older ones are removed.",
     .range = from_to(1, kMaxKept)},
    {.table = "checkpoint",
     .name = "keep_every",
     .slot = LEASEHOLD_SLOT(checkpoint.keep_every),
     .meaning =
         "At multiples of this step a checkpoint is written that stays for ever; 0 means none. "
         "With snapshots a save that is still under way can make it miss one.",
     .range = from_to(0, kMaxSteps)},
    {.table = "checkpoint",
     .name = "stall_timeout_s",
     .slot = LEASEHOLD_SLOT(checkpoint.stall_timeout_s),
     .meaning =
         "Seconds without any movement of its files after which a save or a restore is given "
         "up and the rank, its node and the file are named. While bytes move it may take "
         "hours.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "checkpoint",
     .name = "snapshot",
     .slot = LEASEHOLD_SLOT(checkpoint.snapshot),
     .meaning =
         "Snapshots to the nodes' memory and to partners: `every` step, or `auto`: as often as "
         "costs at most 2% of the step time. With them, checkpoints are written in the "
         "background.",
     .choices = {"off", "auto", "every"},
     .computed_default = "`auto` with lease.calendar, else `off`"},

    {.table = "lease",
     .name = "calendar",
     .slot = LEASEHOLD_SLOT(lease.calendar),
     .meaning = "File that says which hosts are leased from when to when; `leasehold launch` needs "
                "it.",
     .is_path = true,
     .computed_default = "none"},

    {.table = "launch",
     .name = "hosts",
     .slot = LEASEHOLD_SLOT(launch.hosts),
     .meaning = "How `leasehold launch` reaches hosts: `local` (they are names of virtual nodes on "
                "this machine), `ssh`, or the path of an agent that is called like ssh; a relative "
                "path starts at the job file."},
    {.table = "launch",
     .name = "min_world",
     .slot = LEASEHOLD_SLOT(launch.min_world),
     .meaning = "The fewest ranks that may train.",
     .range = from_to(1, kMaxRanks)},
    {.table = "launch",
     .name = "stuck_timeout_s",
     .slot = LEASEHOLD_SLOT(launch.stuck_timeout_s),
     .meaning = "Seconds after which a collective that does not end is given up and the rank "
                "that lags is named.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "launch",
     .name = "start_timeout_s",
     .slot = LEASEHOLD_SLOT(launch.start_timeout_s),
     .meaning = "Seconds that `leasehold launch` gives a generation until it trains.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "launch",
     .name = "margin_s",
     .slot = LEASEHOLD_SLOT(launch.margin_s),
     .meaning = "Seconds of reserve before a lease ends, and that ranks have to give up themselves "
                "what `leasehold launch` takes for stuck.",
     .range = from_to(0, kMaxSeconds)},
    {.table = "launch",
     .name = "wait_for_state_s",
     .slot = LEASEHOLD_SLOT(launch.wait_for_state_s),
     .meaning =
         "Seconds that `leasehold launch` waits for hosts whose memory holds the newest state "
         "and that do not answer, are in quarantine or come back with another lease; then "
         "the job goes back to its newest checkpoint, or to its beginning.",
     .range = from_to(0, kMaxSeconds)},
    {.table = "launch",
     .name = "mpirun",
     .slot = LEASEHOLD_SLOT(launch.mpirun),
     .meaning = "The launcher that `leasehold launch` uses, of Open MPI 4 or 5 or of MPICH: a name "
                "that is found in PATH, or a path; a relative path starts at the job file."},
    {.table = "launch",
     .name = "mpirun_args",
     .slot = LEASEHOLD_SLOT(launch.mpirun_args),
     .meaning =
         "Further arguments for the mpirun of `leasehold launch`; an option or MCA parameter that "
         "they set is not set otherwise."},
};

#undef LEASEHOLD_SLOT

}  // namespace

std::span<const JobKey> job_keys() { return kKeys; }

const JobKey* find_job_key(std::string_view table, std::string_view name) {
  for (const JobKey& key : job_keys()) {
    if (key.table == table && key.name == name) return &key;
  }
  return nullptr;
}

const JobKey& nearest_job_key(std::string_view table, std::string_view name) {
  const JobKey* nearest = nullptr;
  size_t nearest_distance = std::numeric_limits<size_t>::max();
  for (const JobKey& key : job_keys()) {
    // A correct name in another table is nearer than a misspelled name in this table. A bad guess
    // in this table is nearer than a bad guess elsewhere.
    const size_t distance =
        3 * edit_distance(name, key.name) + std::min<size_t>(5, edit_distance(table, key.table));
    if (distance < nearest_distance) {
      nearest = &key;
      nearest_distance = distance;
    }
  }
  return *nearest;
}

std::string_view nearest_job_table(std::string_view table) {
  const auto keys = job_keys();
  return std::min_element(keys.begin(), keys.end(),
                          [&](const JobKey& a, const JobKey& b) {
                            return edit_distance(table, a.table) < edit_distance(table, b.table);
                          })
      ->table;
}

}  // namespace leasehold
