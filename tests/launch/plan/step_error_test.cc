// Compares the step model with measured steps: 371 published rows of 15 classes (source x part x
// precision), none of which has a constant of its own. The bounds are what the planner promises
// (docs/planning.md has the table that this prints).
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <set>

#include "launch/plan/calibration.h"
#include "launch/plan/published_rows.h"
#include "launch/plan/step_time.h"
#include "tests/launch/plan/measured_rows.h"

namespace leasehold {
namespace {

using Class = std::tuple<std::string, std::string, Precision>;

struct ModelledRow {
  PublishedRow row;
  Hardware hardware;
  double modelled_s = 0;

  Class of_class() const { return {row.source, hardware.name, row.question.precision}; }
  double log_error() const { return std::log(modelled_s / *row.step_s); }
  // Slot-seconds a token, which compares rows of unequal batches.
  double measured_cost() const {
    return *row.step_s * static_cast<double>(row.num_slots) / row.tokens();
  }
  double modelled_cost() const {
    return modelled_s * static_cast<double>(row.num_slots) / row.tokens();
  }
};

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

// Operations of a step: 3 forwards, causal attention.
double operations(const PublishedRow& row) {
  const ModelShape& model = row.question.model;
  const double layers = static_cast<double>(model.layers);
  const double attention = static_cast<double>(2 * model.heads * model.head_dim * model.sequence);
  return 3 * row.tokens() *
         (layers * (2 * model.layer_weights() + attention) + 2 * model.table_weights());
}

class StepError : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rows_ = new std::vector<ModelledRow>();
    for (PublishedRow& row : measured_rows()) {
      ModelledRow modelled;
      modelled.row = std::move(row);
      modelled.hardware = shipped_hardware(modelled.row.part).value();
      modelled.modelled_s = step_time(modelled.row.question, modelled.hardware).total_s();
      rows_->push_back(std::move(modelled));
    }
    for (const ModelledRow& row : *rows_) (*classes_)[row.of_class()].push_back(&row);
  }

  // The median of the other classes' shares of the peak, on this part's peak: the model that has to
  // be beaten.
  static double null_share(const Class& left_out) {
    std::vector<double> shares;
    for (const ModelledRow& row : *rows_) {
      if (row.of_class() == left_out) continue;
      shares.push_back(operations(row.row) / (*row.row.step_s * peak(row)));
    }
    std::nth_element(shares.begin(), shares.begin() + static_cast<long>(shares.size() / 2),
                     shares.end());
    return shares[shares.size() / 2];
  }
  static double peak(const ModelledRow& row) {
    return row.hardware.peak[row.row.question.precision] * static_cast<double>(row.row.num_slots);
  }

  static std::vector<ModelledRow>* rows_;
  static std::map<Class, std::vector<const ModelledRow*>>* classes_;
};
std::vector<ModelledRow>* StepError::rows_ = nullptr;
std::map<Class, std::vector<const ModelledRow*>>* StepError::classes_ =
    new std::map<Class, std::vector<const ModelledRow*>>();

// Every row of a class as the one that the others are calibrated with.
double error_with_one_row(const Class& of, const std::vector<const ModelledRow*>& rows) {
  const auto& [source, part, precision] = of;
  std::vector<double> errors;
  for (const ModelledRow* one : rows) {
    const Calibration calibration({{source, part, precision, -one->log_error()}});
    for (const ModelledRow* row : rows) {
      if (row == one) continue;
      const double seconds = calibration.expect(row->modelled_s, source, part, precision).seconds;
      errors.push_back(std::abs(seconds / *row->row.step_s - 1));
    }
  }
  return mean(errors);
}

TEST_F(StepError, EachClassIsWithinItsBounds) {
  ASSERT_EQ(rows_->size(), 371);
  ASSERT_EQ(classes_->size(), 15);
  std::vector<double> of_classes;
  std::vector<double> biases;
  std::vector<double> calibrated;
  fmt::print(
      "| source | part | precision | rows | mean error | bias | largest | with one row | "
      "constant x peak |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const auto& [of, rows] : *classes_) {
    std::vector<double> errors;
    std::vector<double> signed_errors;
    std::vector<double> null_errors;
    const double share = null_share(of);
    for (const ModelledRow* row : rows) {
      signed_errors.push_back(std::exp(row->log_error()) - 1);
      errors.push_back(std::abs(signed_errors.back()));
      const double null_s = operations(row->row) / (share * peak(*row));
      null_errors.push_back(std::abs(null_s / *row->row.step_s - 1));
    }
    const double one_row = error_with_one_row(of, rows);
    fmt::print("| {} | {} | {} | {} | {:.1f}% | {:+.1f}% | {:.1f}% | {:.1f}% | {:.1f}% |\n",
               std::get<0>(of), std::get<1>(of), precision_name(std::get<2>(of)), rows.size(),
               100 * mean(errors), 100 * mean(signed_errors), 100 * largest(errors), 100 * one_row,
               100 * mean(null_errors));
    EXPECT_LT(mean(errors), mean(null_errors)) << std::get<0>(of);
    of_classes.push_back(mean(errors));
    biases.push_back(mean(signed_errors));
    calibrated.push_back(one_row);
  }
  fmt::print("| all | | | {} | {:.1f}% | {:+.1f}% | {:.1f}% (a class) | {:.1f}% | |\n",
             rows_->size(), 100 * mean(of_classes), 100 * mean(biases), 100 * largest(of_classes),
             100 * mean(calibrated));
  EXPECT_LE(mean(of_classes), 0.10);
  EXPECT_LE(largest(of_classes), 0.20);
  EXPECT_LE(std::abs(mean(biases)), 0.05);
  EXPECT_LE(mean(calibrated), 0.06);
}

TEST_F(StepError, TheBandHoldsFourFifthsOfTheRows) {
  const Calibration none({});
  std::vector<double> is_inside;
  for (const ModelledRow& row : *rows_) {
    const Expectation expected =
        none.expect(row.modelled_s, row.row.source, row.hardware.name, row.row.question.precision);
    is_inside.push_back(expected.low_s <= *row.row.step_s && *row.row.step_s <= expected.high_s);
  }
  fmt::print("in the band: {:.1f}% of the rows\n", 100 * mean(is_inside));
  EXPECT_GE(mean(is_inside), 0.70);
  EXPECT_LE(mean(is_inside), 0.90);
}

// Returns what stays the same along a scaling curve: all but the number of slots (and the batch
// with it).
auto curve_of(const ModelledRow& row) {
  const StepQuestion& question = row.row.question;
  const ModelShape& model = question.model;
  return std::tuple(row.of_class(), model.layers, model.hidden, model.vocab, model.sequence,
                    question.tensor, question.pipeline, question.context, question.chunks,
                    question.microbatch, question.microbatches, question.sharding,
                    question.recomputing);
}

TEST_F(StepError, RatiosAlongACurveAreWithinFourHundredths) {
  std::map<decltype(curve_of(rows_->front())), std::vector<const ModelledRow*>> curves;
  for (const ModelledRow& row : *rows_) curves[curve_of(row)].push_back(&row);
  std::vector<double> errors;
  for (auto& [key, curve] : curves) {
    std::sort(curve.begin(), curve.end(),
              [](const auto* a, const auto* b) { return a->row.num_slots < b->row.num_slots; });
    for (size_t i = 1; i < curve.size(); ++i) {
      if (curve[i]->row.num_slots == curve[0]->row.num_slots) continue;
      errors.push_back(std::abs(std::exp(curve[i]->log_error() - curve[0]->log_error()) - 1));
    }
  }
  fmt::print("ratios along curves: {} of them, {:.1f}% off in the mean, {:.1f}% at most\n",
             errors.size(), 100 * mean(errors), 100 * largest(errors));
  EXPECT_GE(errors.size(), 120);
  EXPECT_LE(mean(errors), 0.04);
}

TEST_F(StepError, LayoutsComeInTheRightOrder) {
  std::map<std::tuple<Class, std::string>, std::vector<const ModelledRow*>> models;
  for (const ModelledRow& row : *rows_) {
    const ModelShape& model = row.row.question.model;
    models[{row.of_class(), fmt::format("{}x{}x{}", model.layers, model.hidden, model.vocab)}]
        .push_back(&row);
  }
  std::vector<double> is_right;
  for (const auto& [of, rows] : models) {
    for (const ModelledRow* a : rows) {
      for (const ModelledRow* b : rows) {
        if (a >= b || curve_of(*a) == curve_of(*b)) continue;
        const double measured = a->measured_cost() / b->measured_cost();
        if (std::abs(measured - 1) <= 0.03) continue;
        const double modelled = a->modelled_cost() / b->modelled_cost();
        is_right.push_back((measured > 1) == (modelled > 1));
      }
    }
  }
  fmt::print("pairs of layouts over 3% apart: {}, {:.1f}% in the right order\n", is_right.size(),
             100 * mean(is_right));
  EXPECT_GE(is_right.size(), 300);
  EXPECT_GE(mean(is_right), 0.90);
}

}  // namespace
}  // namespace leasehold
