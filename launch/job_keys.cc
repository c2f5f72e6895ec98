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
     .meaning = "Name of the run: letters, digits, `.`, `_` and `-`.",
     .computed_default = "the job file's name without `.toml`"},
    {.table = "run",
     .name = "dir",
     .slot = LEASEHOLD_SLOT(run.dir),
     .meaning =
         "Directory for metrics, events and checkpoints. A run that is already in it is resumed.",
     .required = true,
     .is_path = true},
    {.table = "run",
     .name = "steps",
     .slot = LEASEHOLD_SLOT(run.steps),
     .meaning = "Optimizer steps of the whole run, and the end of the learning rate's schedule.",
     .required = true,
     .identity = true,
     .range = from_to(1, kMaxSteps)},
    {.table = "run",
     .name = "seed",
     .slot = LEASEHOLD_SLOT(run.seed),
     .meaning = "Seed of initialisation, data order and dropout.",
     .identity = true,
     .range = at_least(0)},
    {.table = "run",
     .name = "start_from",
     .slot = LEASEHOLD_SLOT(run.start_from),
     .meaning = "Checkpoint of the same model (`leasehold import` makes one) whose weights a new "
                "run begins with, at step 0; not needed to resume the run.",
     .is_path = true,
     .computed_default = "weights drawn from `run.seed`"},
    {.table = "run",
     .name = "identity",
     .slot = LEASEHOLD_SLOT(run.identity),
     .meaning = "Reaction to a rank whose arithmetic differs from the others' or from the "
                "checkpoint's: refuse to start, or report an event.",
     .choices = {"refuse", "report"}},
    {.table = "run",
     .name = "validate_every_steps",
     .slot = LEASEHOLD_SLOT(run.validate_every_steps),
     .meaning = "Steps between two validations; 0 validates only at the start and at the end.",
     .range = from_to(0, kMaxSteps)},

    {.table = "model",
     .name = "family",
     .slot = LEASEHOLD_SLOT(model.family),
     .meaning = "Architecture.",
     .identity = true,
     .choices = {"gpt2", "llama"}},
    {.table = "model",
     .name = "layers",
     .slot = LEASEHOLD_SLOT(model.layers),
     .meaning = "Number of transformer blocks.",
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
     .meaning = "Attention heads; must divide `model.hidden`.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "kv_heads",
     .slot = LEASEHOLD_SLOT(model.kv_heads),
     .meaning = "Heads of keys and values; must divide `model.heads`, and equal it for `gpt2`.",
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
     .meaning = "Tokens in a training window, and the longest context.",
     .required = true,
     .identity = true,
     .range = at_least(1)},
    {.table = "model",
     .name = "vocab",
     .slot = LEASEHOLD_SLOT(model.vocab),
     .meaning = "Number of token ids; at least the tokenizer's.",
     .identity = true,
     .range = at_least(1),
     .computed_default = "the size of `tokenizer.json` next to `data.train`"},
    {.table = "model",
     .name = "dropout",
     .slot = LEASEHOLD_SLOT(model.dropout),
     .meaning = "Dropout probability of embeddings, attention and residual branches.",
     .identity = true,
     .range = fraction_below_one()},
    {.table = "model",
     .name = "norm_eps",
     .slot = LEASEHOLD_SLOT(model.norm_eps),
     .meaning = "Added to the variance under the square root in norms.",
     .identity = true,
     .identity_without = "1e-05",
     .range = {.low = 0, .high = 1, .low_excluded = true, .high_excluded = true}},
    {.table = "model",
     .name = "tied",
     .slot = LEASEHOLD_SLOT(model.tied),
     .meaning = "Use the token table as the head's weights; always `true` for `gpt2`.",
     .identity = true,
     .identity_without = "true",
     .computed_default = "`true` for `gpt2`, `false` for `llama`"},
    {.table = "model",
     .name = "rope_theta",
     .slot = LEASEHOLD_SLOT(model.rope_theta),
     .meaning =
         "Base of the rotary frequencies. This key and the following ones are for `llama` only.",
     .identity = true,
     .identity_without = "0",
     .range = at_least(1),
     .computed_default = "10000"},
    {.table = "model",
     .name = "rope_factor",
     .slot = LEASEHOLD_SLOT(model.rope_factor),
     .meaning = "Llama 3's scaling of the slow frequencies, for contexts longer than in the first "
                "training; 0 does not scale.",
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
     .meaning = "Frequencies that turn more often than this are kept; those between the two "
                "factors are blended.",
     .identity = true,
     .identity_without = "4",
     .range = above(0)},
    {.table = "model",
     .name = "rope_original_sequence",
     .slot = LEASEHOLD_SLOT(model.rope_original_sequence),
     .meaning = "Context length before the scaling.",
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
     .meaning = "Token file to validate on, in full each time.",
     .is_path = true,
     .computed_default = "no validation"},

    {.table = "batch",
     .name = "sequences",
     .slot = LEASEHOLD_SLOT(batch.sequences),
     .meaning = "Sequences per step, over all ranks; a multiple of `batch.microbatch`.",
     .required = true,
     .identity = true,
     .range = from_to(1, kMaxSequences)},
    {.table = "batch",
     .name = "microbatch",
     .slot = LEASEHOLD_SLOT(batch.microbatch),
     .meaning = "Sequences in one forward and backward pass.",
     .identity = true,
     .range = from_to(1, kMaxSequences)},
    {.table = "batch",
     .name = "lanes",
     .slot = LEASEHOLD_SLOT(batch.lanes),
     .meaning =
         "Number of gradient sums, which are added in a fixed tree, and so the largest number of "
         "data-parallel ranks. Must divide the number of microbatches M = `batch.sequences` / "
         "`batch.microbatch`. Under ZeRO 0 and 1 a rank with n lanes keeps about log2(n) + 1 "
         "gradients of its part of the model: use fewer lanes if memory is short.",
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
     .meaning = "Learning rate at the end of the cosine schedule; at most `optimizer.lr`.",
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
     .meaning = "AdamW's weight decay, applied to matrices only.",
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
     .meaning = "Added to the square root of the second moment.",
     .identity = true,
     .range = above(0)},
    {.table = "optimizer",
     .name = "grad_clip",
     .slot = LEASEHOLD_SLOT(optimizer.grad_clip),
     .meaning = "Largest norm of the whole gradient; 0 does not clip.",
     .identity = true,
     .range = at_least(0)},
    {.table = "optimizer",
     .name = "nonfinite",
     .slot = LEASEHOLD_SLOT(optimizer.nonfinite),
     .meaning = "Reaction to a loss or gradient norm that is not finite. `stop` saves the state "
                "before the step and exits with 65. `skip` continues without the update: data and "
                "learning rate advance; weights, moments and their bias corrections do not; and "
                "the step's line in `metrics.jsonl` has `skipped`.",
     .choices = {"stop", "skip"}},
    {.table = "optimizer",
     .name = "max_skipped_steps",
     .slot = LEASEHOLD_SLOT(optimizer.max_skipped_steps),
     .meaning = "With `optimizer.nonfinite = \"skip\"`: the most steps that may be skipped in a "
                "row, also across restarts. One more stops the run as `stop` does.",
     .range = from_to(1, kMaxSteps)},

    {.table = "parallel",
     .name = "tensor",
     .slot = LEASEHOLD_SLOT(parallel.tensor),
     .meaning = "Ranks that share each layer. Must divide heads, kv_heads, ffn, vocab and the "
                "tokens of a microbatch.",
     .identity = true,
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "pipeline",
     .slot = LEASEHOLD_SLOT(parallel.pipeline),
     .meaning = "Stages that the layers are divided into. Data parallelism takes the ranks that "
                "tensor x pipeline leave.",
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "chunks",
     .slot = LEASEHOLD_SLOT(parallel.chunks),
     .meaning = "Parts of the model per pipeline stage. More parts shorten the idle time at the "
                "ends of a step (interleaved 1F1B) and send more messages. pipeline x chunks must "
                "divide `model.layers`.",
     .range = from_to(1, kMaxRanks)},
    {.table = "parallel",
     .name = "schedule",
     .slot = LEASEHOLD_SLOT(parallel.schedule),
     .meaning = "`1f1b` keeps the activations of as many microbatches as stages follow; `gpipe` "
                "computes all forward passes, then all backward passes, and keeps the activations "
                "of every microbatch.",
     .choices = {"1f1b", "gpipe"}},
    {.table = "parallel",
     .name = "zero",
     .slot = LEASEHOLD_SLOT(parallel.zero),
     .meaning =
         "State sharded over the data-parallel ranks: 0 nothing, 1 optimizer state, 2 gradients "
         "too, 3 parameters too. With 2 and 3 `batch.lanes` must be the number of microbatches.",
     .range = from_to(0, 3)},
    {.table = "parallel",
     .name = "reduction",
     .slot = LEASEHOLD_SLOT(parallel.reduction),
     .meaning = "`canonical` sums in one order for any number of ranks; `fast` leaves the order to "
                "the library, so results may depend on the number of ranks.",
     .identity = true,
     .choices = {"canonical", "fast"}},
    {.table = "parallel",
     .name = "recompute",
     .slot = LEASEHOLD_SLOT(parallel.recompute),
     .meaning = "Activations that backward recomputes instead of keeping: `none`; `attention`: "
                "queries, keys, values and what attention computes from them; `block`: everything "
                "but each block's input. The bits are the same.",
     .choices = {"none", "attention", "block"}},

    {.table = "device",
     .name = "kind",
     .slot = LEASEHOLD_SLOT(device.kind),
     .meaning = "Device to compute on. `cuda` needs a build with CUDA and a GPU for each rank of a "
                "node: a rank uses the GPU with its number on the node.",
     .choices = {"cpu", "cuda"}},
    {.table = "device",
     .name = "threads",
     .slot = LEASEHOLD_SLOT(device.threads),
     .meaning = "Threads per rank; they do not change the result.",
     .range = from_to(1, 1024)},
    {.table = "device",
     .name = "precision",
     .slot = LEASEHOLD_SLOT(device.precision),
     .meaning = "Precision of activations and of the weights that are computed with and sent. "
                "Gradients, sums and checkpoints are fp32 with either.",
     .identity = true,
     .choices = {"fp32", "bf16"}},
    {.table = "device",
     .name = "cpu_kernels",
     .slot = LEASEHOLD_SLOT(device.cpu_kernels),
     .meaning = "Kernel set of OpenBLAS that all ranks use; sets give different bits. `auto` uses "
                "the set that the run has used so far, and for a new run the best one that every "
                "rank's processor supports. A resumed run refuses another set.",
     .choices = {"auto", "SkylakeX", "Haswell", "Sandybridge", "Nehalem", "Prescott", "neoversev2",
                 "neoversen2", "neoversev1", "neoversen1", "armv8sve", "armv8", "Cooperlake",
                 "SapphireRapids", "Zen"}},
    {.table = "device",
     .name = "mode",
     .slot = LEASEHOLD_SLOT(device.mode),
     .meaning = "For tests: `asynchronous` runs CPU streams on threads of their own, with the same "
                "results.",
     .choices = {"inline", "asynchronous"}},
    {.table = "device",
     .name = "delay_seed",
     .slot = LEASEHOLD_SLOT(device.delay_seed),
     .meaning = "For tests: seed of random delays in asynchronous streams; 0 means none.",
     .range = at_least(0)},

    {.table = "checkpoint",
     .name = "every_steps",
     .slot = LEASEHOLD_SLOT(checkpoint.every_steps),
     .meaning = "Steps between two checkpoints; 0 writes one only at the end and when drained.",
     .range = from_to(0, kMaxSteps)},
    {.table = "checkpoint",
     .name = "interval",
     .slot = LEASEHOLD_SLOT(checkpoint.interval),
     .meaning =
         "`steps`: a checkpoint at every_steps; `auto`: as often as is worthwhile given the "
         "measured time of a save and the failures so far (Young/Daly), which needs snapshots.",
     .choices = {"steps", "auto"},
     .computed_default = "`auto` with snapshots and without every_steps, else `steps`"},
    {.table = "checkpoint",
     .name = "keep",
     .slot = LEASEHOLD_SLOT(checkpoint.keep),
     .meaning = "Number of checkpoints to keep; older ones are removed.",
     .range = from_to(1, kMaxKept)},
    {.table = "checkpoint",
     .name = "keep_every",
     .slot = LEASEHOLD_SLOT(checkpoint.keep_every),
     .meaning = "A checkpoint at a multiple of this step is written and kept forever; 0 means "
                "none. With snapshots, a save that is still in progress can make it miss one.",
     .range = from_to(0, kMaxSteps)},
    {.table = "checkpoint",
     .name = "stall_timeout_s",
     .slot = LEASEHOLD_SLOT(checkpoint.stall_timeout_s),
     .meaning =
         "Seconds without any progress of its files after which a save or a restore fails, and the "
         "rank, its node and the file are named. While bytes move it may take hours.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "checkpoint",
     .name = "snapshot",
     .slot = LEASEHOLD_SLOT(checkpoint.snapshot),
     .meaning = "Snapshots to the memory of the nodes and of partners: `every` step, or `auto`: as "
                "often as costs at most 2% of the step time. With snapshots, checkpoints are "
                "written in the background.",
     .choices = {"off", "auto", "every"},
     .computed_default = "`auto` with lease.calendar, else `off`"},

    {.table = "lease",
     .name = "calendar",
     .slot = LEASEHOLD_SLOT(lease.calendar),
     .meaning =
         "File that lists hosts and the times of their leases; required by `leasehold launch`.",
     .is_path = true,
     .computed_default = "none"},

    {.table = "launch",
     .name = "hosts",
     .slot = LEASEHOLD_SLOT(launch.hosts),
     .meaning = "How `leasehold launch` reaches hosts: `local` (names of virtual nodes on this "
                "machine), `ssh`, or the path of an agent that is called like ssh; a relative path "
                "starts at the job file."},
    {.table = "launch",
     .name = "min_world",
     .slot = LEASEHOLD_SLOT(launch.min_world),
     .meaning = "Smallest number of ranks that may train.",
     .range = from_to(1, kMaxRanks)},
    {.table = "launch",
     .name = "stuck_timeout_s",
     .slot = LEASEHOLD_SLOT(launch.stuck_timeout_s),
     .meaning = "Seconds after which a collective that does not end fails, and the rank that lags "
                "is named.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "launch",
     .name = "start_timeout_s",
     .slot = LEASEHOLD_SLOT(launch.start_timeout_s),
     .meaning = "Seconds that `leasehold launch` gives a generation until it trains.",
     .range = {.low = 0, .high = kMaxSeconds, .low_excluded = true}},
    {.table = "launch",
     .name = "margin_s",
     .slot = LEASEHOLD_SLOT(launch.margin_s),
     .meaning = "Seconds of reserve before a lease ends; also the time that ranks have to fail by "
                "themselves before `leasehold launch` treats them as stuck.",
     .range = from_to(0, kMaxSeconds)},
    {.table = "launch",
     .name = "wait_for_state_s",
     .slot = LEASEHOLD_SLOT(launch.wait_for_state_s),
     .meaning = "Seconds that `leasehold launch` waits for hosts whose memory holds the newest "
                "state and that do not answer, are in quarantine or come back with another lease; "
                "after that the job continues from its newest checkpoint, or from its beginning.",
     .range = from_to(0, kMaxSeconds)},
    {.table = "launch",
     .name = "mpirun",
     .slot = LEASEHOLD_SLOT(launch.mpirun),
     .meaning = "Launcher that `leasehold launch` uses, of Open MPI 4 or 5 or of MPICH: a name to "
                "find in PATH, or a path; a relative path starts at the job file."},
    {.table = "launch",
     .name = "mpirun_args",
     .slot = LEASEHOLD_SLOT(launch.mpirun_args),
     .meaning = "More arguments for the mpirun of `leasehold launch`; Leasehold does not set an "
                "option or MCA parameter that they set."},
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
