#include "runtime/base/file_kind.h"

#include <gtest/gtest.h>
#include <vector>

namespace leasehold {
namespace {

using namespace std::string_literals;

struct Case {
  std::string head;
  std::string name;  // a part of it
};

TEST(FileKind, IsToldByTheFirstBytes) {
  const std::string tar = "docs/a.txt" + std::string(247, '\0') + "ustar\00000"s;
  const std::string utf8 = "\xC3\xA9t\xC3\xA9";
  const std::vector<Case> cases = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
       "Git LFS pointer"},
      {"/annex/objects/SHA256E-s5--abc.bin\n", "git-annex pointer"},
      {"<!DOCTYPE html>\n<html>", "HTML page"},
      {"\xEF\xBB\xBF\n <HTML lang=en>", "HTML page"},
      {"<?xml version='1.0'?>\n<!DOCTYPE html>", "HTML page"},
      {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code></Error>",
       "XML error message"},
      {"<Error><Code>NoSuchKey</Code>", "XML error message"},
      {"<?xml version='1.0'?><feed/>", "XML document"},
      {"Entry not found", "error message"},
      {"404: Not Found", "error message"},
      {"\x1F\x8B\x08", "gzip"},
      {"\x28\xB5\x2F\xFD\x04", "Zstandard"},
      {"\xFD"
       "7zXZ\0"s,
       "xz"},
      {"BZh91AY&SY\x59\x84\x8B"s + '\0', "bzip2"},
      {"BZh9\x17\x72\x45\x38\x50\x90"s + "\0\0\0\0"s, "bzip2"},
      {"\x04\x22\x4D\x18", "LZ4"},
      {"PK\x03\x04", "zip archive"},
      {"7z\xBC\xAF\x27\x1C", "7z archive"},
      {tar, "tar archive"},
      {"PAR1\x15\x04\x15"s, "Parquet"},
      {"ARROW1\0\0"s, "Arrow file"},
      {"Obj\x01\x04", "Avro"},
      {"\x89HDF\r\n\x1A\n", "HDF5"},
      {"\x93NUMPY\x01\0"s, "numpy"},
      {"SQLite format 3\0"s, "SQLite"},
      {"\x80\x04\x95", "pickle"},
      {"GGUF\x03\0\0\0"s, "GGUF"},
      {"%PDF-1.7\n", "PDF"},
      {"\x89PNG\r\n\x1A\n", "PNG"},
      {"\xFF\xD8\xFF\xE0", "JPEG"},
      {"\x7F"
       "ELF\x02",
       "ELF"},
      {"MZ\x90\0"s, "Windows program"},
  };
  for (const Case& tried : cases) {
    const FileKind* kind = recognise_file(tried.head);
    ASSERT_NE(kind, nullptr) << tried.name;
    EXPECT_NE(kind->name.find(tried.name), std::string::npos) << kind->name << ": " << tried.name;
    EXPECT_FALSE(kind->way_out.empty());
  }
}

TEST(FileKind, TakesNoTextForAnythingElse) {
  for (const std::string& text : {""s,
                                  "a"s,
                                  "BZh is how bzip2 begins"s,
                                  "BM25 ranks documents"s,
                                  "MZ was Mark Zbikowski"s,
                                  "PAR1 and PAR2"s,
                                  "ORC\n"s,
                                  "ID3 tags"s,
                                  "RIFF raff"s,
                                  "GIF89a is a format"s,
                                  "PK"s,
                                  "version 1"s,
                                  "{\"text\": \"<html>\"}"s,
                                  "070701 is a number"s,
                                  "<p>"s,
                                  "\xC3\xA9t\xC3\xA9 BM"s,
                                  "Entry not found" + std::string(600, '.'),
                                  "DUCK"s,
                                  "hsqs"s,
                                  "BM\t\x1B[31mred\r\n\f"s}) {
    EXPECT_EQ(recognise_file(text), nullptr) << text;
  }
}

TEST(FileKind, MessagesNameThePathAndTheWayOut) {
  const Status status = check_file_kind("version https://git-lfs.github.com/spec/v1\n",
                                        "m/model.safetensors", "a safetensors file");
  EXPECT_EQ(status.code(), Code::kBadData);
  for (const char* part : {"m/model.safetensors: this is a Git LFS pointer",
                           "not a safetensors file", "git lfs pull"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
  EXPECT_EQ(check_file_kind("", "x", "JSON").message(),
            "x: this is empty, not JSON; download or make it again");
  EXPECT_TRUE(check_file_kind("{}", "x", "JSON").ok());
}

}  // namespace
}  // namespace leasehold
