#include "launch/supervisor/forecaster.h"

#include "launch/supervisor/child_process.h"
#include "launch/supervisor/forecast_words.h"

namespace leasehold {

namespace {

// The end of what a program said.
std::string last_line(std::string_view output) {
  while (output.ends_with('\n')) output.remove_suffix(1);
  const size_t newline = output.rfind('\n');
  return std::string(newline == std::string_view::npos ? output : output.substr(newline + 1));
}

class ProgramForecaster : public Forecaster {
 public:
  explicit ProgramForecaster(ForecastProgram program) : program_(std::move(program)) {}

  void ask(const std::vector<LayoutOfWorld>& questions) override {
    if (busy()) return;
    std::vector<std::string> arguments = {program_.train_program, program_.job_path};
    for (const std::string& text : program_.overrides) {
      arguments.insert(arguments.end(), {"--set", text});
    }
    for (const LayoutOfWorld& question : questions) {
      arguments.insert(arguments.end(), {"--forecast", forecast_argument(question)});
    }
    auto child = ChildProcess::start(std::move(arguments), {}, program_.deadline_s);
    if (child.ok()) {
      child_ = std::move(child).value();
    } else {
      problem_ = child.status();
    }
    questions_ = questions;
  }

  bool busy() const override { return child_ != nullptr; }

  std::optional<Result<MemoryForecasts>> take() override {
    if (!problem_.ok()) return Result<MemoryForecasts>(std::exchange(problem_, {}));
    if (!child_) return std::nullopt;
    const auto outcome = child_->poll();
    if (!outcome) return std::nullopt;
    child_.reset();
    return understand(*outcome);
  }

 private:
  Result<MemoryForecasts> understand(const ChildOutcome& outcome) const {
    if (!outcome.code) {
      return error(Code::kUnavailable, "{} --forecast did not end within {:.0f} s",
                   program_.train_program, program_.deadline_s);
    }
    if (*outcome.code != 0) {
      return error(Code::kInternal, "{} --forecast ended with code {}: {}", program_.train_program,
                   *outcome.code, last_line(outcome.output));
    }
    LEASEHOLD_ASSIGN_OR_RETURN(MemoryForecasts forecasts, parse_forecasts(outcome.output));
    for (const LayoutOfWorld& question : questions_) {
      if (forecasts.contains(question)) continue;
      return error(Code::kInternal, "{} --forecast {} was not answered", program_.train_program,
                   forecast_argument(question));
    }
    return forecasts;
  }

  ForecastProgram program_;
  std::unique_ptr<ChildProcess> child_;
  std::vector<LayoutOfWorld> questions_;
  Status problem_;
};

}  // namespace

std::unique_ptr<Forecaster> make_forecaster(ForecastProgram program) {
  return std::make_unique<ProgramForecaster>(std::move(program));
}

}  // namespace leasehold
