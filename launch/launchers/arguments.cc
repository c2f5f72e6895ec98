#include "launch/launchers/arguments.h"

#include <algorithm>

namespace leasehold {

namespace {

// Returns "bind-to" for "--bind-to=core". Launchers take one dash or two.
std::string_view option_name(std::string_view argument) {
  argument.remove_prefix(std::min(argument.find_first_not_of('-'), argument.size()));
  return argument.substr(0, argument.find('='));
}

}  // namespace

void append(Arguments& arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
}

bool mention(const Arguments& arguments, const std::string& word) {
  return std::ranges::find(arguments, option_name(word), option_name) != arguments.end();
}

GivenArguments split_given(const Arguments& arguments) {
  GivenArguments given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-x" && i + 1 < arguments.size()) {
      append(given.exported, {arguments[i], arguments[i + 1]});
      ++i;
    } else {
      given.general.push_back(arguments[i]);
    }
  }
  return given;
}

Arguments train_arguments(const LaunchRequest& request) {
  Arguments arguments = {request.train_program, request.job_path};
  for (const std::string& text : request.overrides) append(arguments, {"--set", text});
  return arguments;
}

std::vector<std::pair<std::string, std::string>> generation_variables(
    const LaunchRequest& request) {
  return {{"LEASEHOLD_GENERATION", std::to_string(request.generation)},
          {"LEASEHOLD_SUPERVISOR", request.supervisor}};
}

}  // namespace leasehold
