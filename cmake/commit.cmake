# Writes OUTPUT, a source that defines leasehold::commit(), for the commit that SOURCE stands at. Leaves the file as it is
# where it says so already, so that nothing is built again. Runs in each build: cmake -DSOURCE=... -DOUTPUT=... -P commit.cmake
set(commit "unknown")
if(EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed AND described)
    set(commit ${described})
  endif()
endif()
set(text "#include \"launch/version.h\"\nnamespace leasehold {\nconst char* commit() { return \"${commit}\"; }\n}  // namespace leasehold\n")
set(present "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} present)
endif()
if(NOT text STREQUAL present)
  file(WRITE ${OUTPUT} "${text}")
endif()
