# Says where `cmake --install` puts the files, and makes them a Debian package (launch/make_package).
include(GNUInstallDirs)

install(PROGRAMS ${CMAKE_BINARY_DIR}/leasehold ${CMAKE_BINARY_DIR}/leasehold-train DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES README.md CHANGELOG.md LICENSE SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY launch/examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES launch/mpi_environment DESTINATION ${CMAKE_INSTALL_DATADIR}/leasehold)
foreach(program leasehold leasehold-train)
  install(FILES launch/completions/leasehold DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME ${program})
endforeach()

# Man pages come from the programs' help, when they are installed.
find_program(LEASEHOLD_HELP2MAN help2man)
if(LEASEHOLD_HELP2MAN)
  set(pages ${CMAKE_CURRENT_BINARY_DIR}/man)
  install(CODE "file(MAKE_DIRECTORY \"${pages}\")
foreach(program leasehold leasehold-train)
  set(help --help)
  if(program STREQUAL leasehold)
    set(help --help-all)
  endif()
  execute_process(COMMAND \"${LEASEHOLD_HELP2MAN}\" --no-info --help-option=\${help}
    \"--name=train transformers on leased GPUs\" \"--output=${pages}/\${program}.1\" \"${CMAKE_BINARY_DIR}/\${program}\"
    COMMAND_ERROR_IS_FATAL ANY)
endforeach()")
  install(FILES ${pages}/leasehold.1 ${pages}/leasehold-train.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME leasehold)
set(CPACK_PACKAGE_CONTACT "The Leasehold authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains transformer language models on leased GPUs")
set(CPACK_PACKAGE_DESCRIPTION
  "Nodes may join, leave or die, and the training does not change by one bit. Two programs: leasehold prepares data, launches and supervises jobs; leasehold-train is started by mpirun on the nodes.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# OpenBLAS is opened while the program runs, so no linker knows of it.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "${LEASEHOLD_LAUNCHER_PACKAGE}, libopenblas0-pthread | libopenblas0-openmp | libopenblas0-serial")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "openssh-client, iproute2")
include(CPack)
