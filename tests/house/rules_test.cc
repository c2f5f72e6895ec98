// Tests that each rule finds its offence in a small tree made for it, and accepts text that only
// resembles one.
#include "tests/house/rules.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace leasehold::house {
namespace {

std::string including(const std::string& path) { return "#include \"" + path + "\"\n"; }

testing::AssertionResult offends_once(const Offences& offences, const std::string& fragment) {
  if (offences.size() == 1 && offences[0].find(fragment) != std::string::npos)
    return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure()
                 << "wanted one offence with '" << fragment << "', got " << offences.size();
  for (const std::string& offence : offences) failure << "\n  " << offence;
  return failure;
}

TEST(IncludeDirections, OffenceIsNamedWithFileAndLine) {
  const SourceTree tree = {{"runtime/train/trainer.cc", "\n" + including("collectives/mpi.h")}};
  EXPECT_TRUE(offends_once(include_direction_offences(tree), "runtime/train/trainer.cc:2: "));
}

struct Direction {
  const char* from;
  const char* to;
  bool allowed;
};

class IncludeDirection : public testing::TestWithParam<Direction> {};

TEST_P(IncludeDirection, Holds) {
  const auto& [from, to, allowed] = GetParam();
  const Offences offences = include_direction_offences({{from, including(to)}});
  EXPECT_EQ(offences.empty(), allowed) << from << " -> " << to;
}

INSTANTIATE_TEST_SUITE_P(
    Table, IncludeDirection,
    testing::Values(Direction{"runtime/base/a.cc", "runtime/base/b.h", true},
                    Direction{"runtime/base/a.cc", "runtime/device/b.h", false},
                    Direction{"runtime/device/a.cc", "runtime/tensor/b.h", false},
                    Direction{"runtime/tensor/a.cc", "runtime/comm/b.h", false},
                    Direction{"runtime/tensor/cuda/a.cu", "runtime/tensor/b.h", true},
                    Direction{"runtime/tensor/cuda/a.cu", "runtime/module/b.h", false},
                    Direction{"runtime/comm/a.cc", "runtime/tensor/b.h", true},
                    Direction{"runtime/comm/a.cc", "runtime/module/b.h", false},
                    Direction{"runtime/module/a.cc", "runtime/train/b.h", false},
                    Direction{"runtime/data/a.cc", "runtime/checkpoint/b.h", false},
                    Direction{"runtime/checkpoint/a.cc", "runtime/train/b.h", false},
                    Direction{"runtime/checkpoint/a.cc", "runtime/data/b.h", false},
                    Direction{"runtime/train/a.cc", "runtime/checkpoint/b.h", true},
                    Direction{"runtime/train/a.cc", "models/b.h", false},
                    Direction{"runtime/train/a.cc", "launch/b.h", false},
                    Direction{"runtime/train/a.cc", "tests/support/b.h", false},
                    Direction{"runtime/train/a.cc", "bench/b.h", false},
                    Direction{"collectives/a.cc", "runtime/comm/b.h", true},
                    Direction{"collectives/a.cc", "models/b.h", false},
                    Direction{"models/a.cc", "runtime/module/b.h", true},
                    Direction{"models/a.cc", "collectives/b.h", false},
                    Direction{"models/a.cc", "launch/b.h", false},
                    Direction{"launch/a.cc", "collectives/b.h", true},
                    Direction{"launch/a.cc", "models/b.h", true},
                    Direction{"launch/a.cc", "tests/support/b.h", false},
                    Direction{"tests/launch/a.cc", "launch/b.h", true},
                    Direction{"tests/launch/a.cc", "tests/support/b.h", true},
                    Direction{"tests/launch/a.cc", "bench/b.h", false},
                    Direction{"bench/a.cc", "models/b.h", true},
                    Direction{"bench/a.cc", "tests/support/b.h", false}));

TEST(IncludeDirections, UnknownFolderOffends) {
  EXPECT_TRUE(
      offends_once(include_direction_offences({{"runtime/extra/a.cc", ""}}), "not in the table"));
  EXPECT_TRUE(offends_once(include_direction_offences({{"tools/a.cc", ""}}), "not in the table"));
}

TEST(IncludePaths, MustNameAFileFromTheRoot) {
  const SourceTree tree = {{"models/gpt.h", ""}, {"models/gpt.cc", including("gpt.h")}};
  EXPECT_TRUE(offends_once(include_path_offences(tree), "models/gpt.cc:1: \"gpt.h\""));
  const SourceTree upwards = {{"models/gpt.h", ""},
                              {"launch/a.cc", "# include \"../models/gpt.h\"\n"}};
  EXPECT_TRUE(offends_once(include_path_offences(upwards), "launch/a.cc:1"));
  const SourceTree good = {{"models/gpt.h", ""},
                           {"models/gpt.cc", including("models/gpt.h") + "#include <vector>\n"}};
  EXPECT_TRUE(include_path_offences(good).empty());
}

TEST(Openings, HeaderWantsPurposeAndPragma) {
  EXPECT_TRUE(
      offends_once(opening_offences({{"models/a.h", "// Purpose.\nint x;\n"}}), "#pragma once"));
  EXPECT_TRUE(
      offends_once(opening_offences({{"models/a.h", "#pragma once\n"}}), "open with a comment"));
  EXPECT_TRUE(opening_offences({{"models/a.h", "// Purpose.\n#pragma once\n"}}).empty());
  EXPECT_TRUE(offends_once(
      opening_offences({{"models/a.h", "// Purpose, and #pragma once in a comment.\n"}}),
      "#pragma once"));
}

TEST(Openings, SourceWithoutHeaderWantsPurpose) {
  EXPECT_TRUE(offends_once(opening_offences({{"models/a.cc", "int x;\n"}}), "models/a.cc:1"));
  EXPECT_TRUE(opening_offences({{"models/a.cc", "// Purpose.\n"}}).empty());
  EXPECT_TRUE(opening_offences({{"models/a.cc", including("models/a.h")},
                                {"models/a.h", "// Purpose.\n#pragma once\n"}})
                  .empty());
}

TEST(Openings, SourcesShareAHeader) {
  const std::string header = "// Purpose.\n#pragma once\n";
  EXPECT_TRUE(opening_offences({{"models/a_b_c.cc", ""}, {"models/a.h", header}}).empty());
  EXPECT_TRUE(offends_once(opening_offences({{"models/ab_c.cc", ""}, {"models/a.h", header}}),
                           "models/ab_c.cc:1"));
  EXPECT_TRUE(offends_once(opening_offences({{"models/a_b.cc", ""}, {"launch/a.h", header}}),
                           "models/a_b.cc:1"));
}

TEST(Openings, TestMirrorsAHeader) {
  const SourceTree mirrored = {{"tests/models/a_test.cc", "int x;\n"},
                               {"models/a.h", "// Purpose.\n#pragma once\n"}};
  EXPECT_TRUE(opening_offences(mirrored).empty());
  const SourceTree alone = {{"tests/models/b_test.cc", "int x;\n"},
                            {"models/a.h", "// Purpose.\n#pragma once\n"}};
  EXPECT_TRUE(offends_once(opening_offences(alone), "tests/models/b_test.cc:1"));
}

class ForbiddenCall : public testing::TestWithParam<const char*> {};

TEST_P(ForbiddenCall, OffendsInLibrariesOnly) {
  const std::string code = std::string("// Purpose.\nvoid f() {\n  ") + GetParam() + "\n}\n";
  for (const char* path : {"runtime/base/a.cc", "collectives/a.cc", "models/a.h"}) {
    EXPECT_TRUE(offends_once(library_conduct_offences({{path, code}}), std::string(path) + ":3: "));
  }
  EXPECT_TRUE(library_conduct_offences({{"launch/main.cc", code}}).empty());
}

INSTANTIATE_TEST_SUITE_P(Calls, ForbiddenCall,
                         testing::Values("exit(1);", "std::exit(1);", "::exit(1);", "_exit(1);",
                                         "std::_Exit(code);", "abort();", "std::abort();",
                                         "std::terminate();", "printf(\"x\");",
                                         "std::printf(\"x\");", "fprintf(stderr, \"x\");",
                                         "puts(\"x\");", "std::cout << x;", "std::cerr << x;",
                                         "fmt::print(\"x\");"));

TEST(LibraryConduct, LeavesAloneWhatOnlyLooksLikeIt) {
  const std::string code =
      "// Never exit(1) here; printf(x) neither.\n"
      "virtual void abort(const Status& reason) = 0;\n"
      "void MpiCommunicator::abort(const Status& reason) {}\n"
      "group.abort(status); group->abort(status); on_exit(3);\n"
      "const char* text = \"exit(1) and std::cout\"; char quote = '\"'; auto raw = "
      "R\"(abort())\";\n"
      "snprintf(buffer, 3, \"x\"); fmt::format(\"x\"); int exit_code = status.exit_code();\n"
      "/* std::abort()\n   std::abort() */ int64_t n = 1'000'000;\n";
  EXPECT_TRUE(library_conduct_offences({{"runtime/base/a.cc", code}}).empty());
  EXPECT_TRUE(offends_once(library_conduct_offences({{"runtime/base/a.cc", code + "exit(1);\n"}}),
                           "a.cc:9: "));
}

TEST(Processor, ItsInstructionsOffendOutsideOfTheirPlace) {
  for (const std::string line :
       {"#include <immintrin.h>", "#include <arm_neon.h>", "#include <cpuid.h>",
        "__builtin_ia32_pause();", "x = _mm256_add_epi64(x, y);", "__m256i x;", "uint64x2_t x;",
        "float32x4_t x;"}) {
    const std::string code = "// Purpose.\n" + line + "\n";
    EXPECT_TRUE(offends_once(processor_offences({{"models/a.cc", code}}), "models/a.cc:2")) << line;
    for (const char* path : {"runtime/base/vectors.h", "runtime/tensor/blas/processor_x86.cc",
                             "tests/emulated_gpu/processor_aarch64.cc"})
      EXPECT_TRUE(processor_offences({{path, code}}).empty()) << line;
  }
  EXPECT_TRUE(processor_offences({{"a.cc", "// _mm256_add_epi64\nint32_t mma_x2; f_mma_sync();\n"}})
                  .empty());
}

TEST(Size, CountsLines) {
  std::string text;
  for (int i = 0; i < 600; ++i) text += "int x;\n";
  EXPECT_TRUE(size_offences({{"models/a.cc", text}}).empty());
  EXPECT_TRUE(offends_once(size_offences({{"models/a.cc", text + "int y;\n"}}), "601 lines"));
}

TEST(Unfinished, NotesOffendEverywhere) {
  for (const std::string note : {"TO"
                                 "DO",
                                 "FIX"
                                 "ME",
                                 "XX"
                                 "X",
                                 "HA"
                                 "CK"}) {
    EXPECT_TRUE(offends_once(unfinished_offences({{"tests/run", "true\n# " + note + ": later\n"}}),
                             "tests/run:2"));
  }
  EXPECT_TRUE(unfinished_offences({{"a.md", "Mastodon, hacking, todo\n"}}).empty());
}

TEST(Surroundings, PathsOfOneMachineOffend) {
  for (const std::string folder : {"ho"
                                   "me",
                                   "wo"
                                   "rk",
                                   "ro"
                                   "ot"}) {
    const std::string path = "/" + folder + "/somebody/leasehold";
    EXPECT_TRUE(
        offends_once(surroundings_offences({{"a.md", "see " + path}}), "a path of one machine"))
        << path;
    EXPECT_TRUE(offends_once(surroundings_offences({{"a.cc", "open(\"" + path + "\")"}}), "a.cc:1"))
        << path;
  }
  EXPECT_TRUE(surroundings_offences({{"a.md",
                                      "/dev/shm /tmp/x /usr/bin, and net/wo"
                                      "rk/x"}})
                  .empty());
}

TEST(Surroundings, NumberedIssuesAndAbsentDocumentsOffend) {
  EXPECT_TRUE(offends_once(surroundings_offences({{"a.cc",
                                                   "// fixes iss"
                                                   "ue 12\n"}}),
                           "say what it was about"));
  EXPECT_TRUE(offends_once(surroundings_offences({{"a.cc",
                                                   "// as in PLAN"
                                                   ".md\n"}}),
                           "no document PLAN"));
  EXPECT_TRUE(surroundings_offences({{"a.cc",
                                      "// as in PLAN"
                                      ".md\n"},
                                     {"PLAN"
                                      ".md",
                                      ""}})
                  .empty());
}

TEST(Links, MustLeadSomewhere) {
  EXPECT_TRUE(offends_once(link_offences({{"a.md", "[x](docs/b.md)"}}), "docs/b.md leads nowhere"));
  EXPECT_TRUE(offends_once(link_offences({{"docs/b.md", "[x](../../out)"}}), "leads nowhere"));
  EXPECT_TRUE(
      link_offences(
          {{"docs/b.md", "[x](../a.md#part) [y](https://example.org) [z](../docs/)"}, {"a.md", ""}})
          .empty());
}

TEST(ReadSourceTree, SkipsWhatIsBuiltButOnlyAtTheRoot) {
  std::string root = (std::filesystem::temp_directory_path() / "leasehold_house_XXXXXX").string();
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  for (const char* folder : {"build", "data", ".git", "runtime/data"}) {
    std::filesystem::create_directories(root + "/" + folder);
    std::ofstream(root + "/" + folder + "/a.cc") << "int x;\n";
  }
  std::ofstream(root + "/binary", std::ios::binary) << std::string("a\0b", 3);
  const SourceTree tree = read_source_tree(root);
  std::filesystem::remove_all(root);
  EXPECT_EQ(tree, (SourceTree{{"runtime/data/a.cc", "int x;\n"}}));
}

}  // namespace
}  // namespace leasehold::house
