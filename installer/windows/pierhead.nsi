; The installer for Windows: for this user, without an administrator. Called by `build`, which defines
;   VERSION  NUMBERS (1.2.3.0)  FILES (what is installed, laid out as below $INSTDIR)  SIZE (in kB)  OUT
;   and perhaps SIXTY_FOUR (makensis can make programs for 64 bits)  FAST (packed in a hurry)
;
; From a command line:
;   pierhead-VERSION-setup.exe /S [/LOGIN] [/NOPATH] [/NOMENU] [/D=C:\folder]    /D= comes last, and has no quotes
;   uninstall.exe /S [/STOP]                                                     /STOP: servers that run are stopped as well
!ifdef SIXTY_FOUR
    Target amd64-unicode
!else
    Target x86-unicode
!endif
ManifestDPIAware true
ManifestSupportedOS Win10
RequestExecutionLevel user
!ifdef FAST
    SetCompressor zlib
!else
    SetCompressor /SOLID lzma
!endif
SetDateSave on

!include MUI2.nsh
!include LogicLib.nsh
!include FileFunc.nsh
!include path.nsh
!include running.nsh

!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\Pierhead"
!define RUN_ONCE "Software\Microsoft\Windows\CurrentVersion\RunOnce"

Name "Pierhead"
OutFile "${OUT}"
InstallDir "$LOCALAPPDATA\Programs\Pierhead"
InstallDirRegKey HKCU "${ENTRY}" "InstallLocation"
BrandingText "Pierhead ${VERSION}"
VIProductVersion "${NUMBERS}"
VIAddVersionKey ProductName "Pierhead"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "Installs Pierhead for this user"
VIAddVersionKey LegalCopyright "MIT or Apache-2.0"

!define MUI_ICON "${FILES}\pierhead.ico"
!define MUI_UNICON "${FILES}\pierhead.ico"
!define MUI_COMPONENTSPAGE_SMALLDESC
!define MUI_FINISHPAGE_RUN "$INSTDIR\bin\pierhead-tray.exe"
!define MUI_FINISHPAGE_RUN_TEXT "Show the icon now"
!insertmacro MUI_PAGE_LICENSE "${FILES}\LICENSE-MIT.txt"
!insertmacro MUI_PAGE_COMPONENTS
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_COMPONENTS
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

; Renames the file on the stack to what its folder has no file of: an earlier one may run still.
!macro SetAside un
Function ${un}SetAside
    Exch $0
    Push $1
    ${If} ${FileExists} "$0"
        StrCpy $1 1
        ${DoWhile} ${FileExists} "$0.$1.old"
            IntOp $1 $1 + 1
        ${Loop}
        Rename "$0" "$0.$1.old"
    ${EndIf}
    Pop $1
    Pop $0
FunctionEnd
!macroend
!insertmacro SetAside ""
!insertmacro SetAside "un."

; A program that runs can be renamed and not overwritten: what is in its place then is what is started next, and what runs
; goes on. So the daemon and the shim of every server live through an upgrade.
!macro Replace program
    File "/oname=$INSTDIR\bin\${program}.new" "${FILES}\bin\${program}"
    Push "$INSTDIR\bin\${program}"
    Call SetAside
    ClearErrors
    Rename "$INSTDIR\bin\${program}.new" "$INSTDIR\bin\${program}"
    ${If} ${Errors}
        SetErrorLevel 2
        Abort "$INSTDIR\bin\${program} cannot be replaced"
    ${EndIf}
!macroend

Section "Pierhead" program
    SectionIn RO
    SetOutPath "$INSTDIR"
    File "${FILES}\*.*"
    CreateDirectory "$INSTDIR\bin"
    !insertmacro Replace pierhead.exe
    !insertmacro Replace pierhead-tray.exe
    WriteUninstaller "$INSTDIR\uninstall.exe"
    DeleteRegValue HKCU "${RUN_ONCE}" "Pierhead"
    Call ForgetOld

    WriteRegStr HKCU "${ENTRY}" "DisplayName" "Pierhead"
    WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
    WriteRegStr HKCU "${ENTRY}" "DisplayIcon" "$INSTDIR\pierhead.ico"
    WriteRegStr HKCU "${ENTRY}" "Publisher" "The Pierhead contributors"
    WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
    WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKCU "${ENTRY}" "EstimatedSize" ${SIZE}
    WriteRegDWORD HKCU "${ENTRY}" "NoModify" 1
    WriteRegDWORD HKCU "${ENTRY}" "NoRepair" 1
SectionEnd

Section "Entry in the Start menu" menu
    CreateShortcut "$SMPROGRAMS\Pierhead.lnk" "$INSTDIR\bin\pierhead-tray.exe" "" "$INSTDIR\pierhead.ico"
SectionEnd

Section "pierhead in PATH" path
    ${AddToPath} "$INSTDIR\bin"
SectionEnd

; The program itself knows where a desktop looks, and takes the entry away again.
Section /o "Start at login" login
    nsExec::ExecToLog '"$INSTDIR\bin\pierhead.exe" autostart on'
    Pop $0
SectionEnd

!insertmacro MUI_FUNCTION_DESCRIPTION_BEGIN
    !insertmacro MUI_DESCRIPTION_TEXT ${program} "The command line, the daemon and the icon."
    !insertmacro MUI_DESCRIPTION_TEXT ${menu} "Shows the icon in the notification area."
    !insertmacro MUI_DESCRIPTION_TEXT ${path} "Terminals that are opened from now on find the command."
    !insertmacro MUI_DESCRIPTION_TEXT ${login} "The icon, and servers that are to start at login. Also: pierhead autostart on."
!insertmacro MUI_FUNCTION_DESCRIPTION_END

Function .onInit
    Call AsItWas
    ${GetParameters} $0
    ${GetOptions} $0 "/LOGIN" $1
    ${IfNot} ${Errors}
        !insertmacro SelectSection ${login}
    ${EndIf}
    ClearErrors
    ${GetOptions} $0 "/NOPATH" $1
    ${IfNot} ${Errors}
        !insertmacro UnselectSection ${path}
    ${EndIf}
    ClearErrors
    ${GetOptions} $0 "/NOMENU" $1
    ${IfNot} ${Errors}
        !insertmacro UnselectSection ${menu}
    ${EndIf}
    ClearErrors
FunctionEnd

; An upgrade brings nothing back that was not wanted.
Function AsItWas
    ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
    ${If} $0 == ""
        Return
    ${EndIf}
    ${IfNot} ${FileExists} "$SMPROGRAMS\Pierhead.lnk"
        !insertmacro UnselectSection ${menu}
    ${EndIf}
    ${IsInPath} "$0\bin" $1
    ${If} $1 = 0
        !insertmacro UnselectSection ${path}
    ${EndIf}
FunctionEnd

; What was set aside goes: now, or, where it still runs, when this user logs in next. By then nothing of it does.
Function ForgetOld
    Delete "$INSTDIR\bin\*.old"
    ${If} ${FileExists} "$INSTDIR\bin\*.old"
        WriteRegStr HKCU "${RUN_ONCE}" "Pierhead" 'cmd.exe /d /c del /q "$INSTDIR\bin\*.old"'
    ${EndIf}
FunctionEnd

!macro Remove program
    Push "$INSTDIR\bin\${program}"
    Call un.SetAside
!macroend

; First, while there is somebody to ask for it.
Section /o "un.Stop the servers that run" un_stop
    nsExec::ExecToLog '"$INSTDIR\bin\pierhead.exe" down --all'
    Pop $0
SectionEnd

; What was made with the programs (settings, approvals, logs, port files) stays.
Section "un.Pierhead" un_program
    SectionIn RO
    ; The tray first: it begins the daemon anew. Its end is nobody else's.
    ${EndProgram} "$INSTDIR\bin\pierhead-tray.exe"
    nsExec::ExecToLog '"$INSTDIR\bin\pierhead.exe" daemon stop'
    Pop $0
    nsExec::ExecToStack '"$INSTDIR\bin\pierhead.exe" autostart status'
    Pop $0
    Pop $1
    ; `on, for a program that has moved` is somebody else's.
    StrCpy $1 $1 3
    ${If} $1 == "on$\r"
    ${OrIf} $1 == "on$\n"
        nsExec::ExecToLog '"$INSTDIR\bin\pierhead.exe" autostart off'
        Pop $0
    ${EndIf}
    ${RemoveFromPath} "$INSTDIR\bin"
    Delete "$SMPROGRAMS\Pierhead.lnk"
    DeleteRegValue HKCU "${RUN_ONCE}" "Pierhead"
    DeleteRegKey HKCU "${ENTRY}"

    !insertmacro Remove pierhead.exe
    !insertmacro Remove pierhead-tray.exe
    Delete "$INSTDIR\bin\*.old"
    Delete "$INSTDIR\pierhead.ico"
    Delete "$INSTDIR\LICENSE-MIT.txt"
    Delete "$INSTDIR\LICENSE-APACHE.txt"
    Delete "$INSTDIR\THIRD-PARTY-LICENSES.txt"
    Delete "$INSTDIR\README.txt"
    Delete "$INSTDIR\uninstall.exe"
    ; Folders that hold something of somebody else's stay.
    RMDir "$INSTDIR\bin"
    RMDir "$INSTDIR"
    ${If} ${FileExists} "$INSTDIR\bin\*.old"
        WriteRegStr HKCU "${RUN_ONCE}" "Pierhead" \
            'cmd.exe /d /c del /q "$INSTDIR\bin\*.old" & rd "$INSTDIR\bin" & rd "$INSTDIR"'
    ${EndIf}
SectionEnd

!insertmacro MUI_UNFUNCTION_DESCRIPTION_BEGIN
    !insertmacro MUI_DESCRIPTION_TEXT ${un_program} "Settings, approvals, logs and port files stay."
    !insertmacro MUI_DESCRIPTION_TEXT ${un_stop} "Otherwise they go on, and end as other programs do."
!insertmacro MUI_UNFUNCTION_DESCRIPTION_END

Function un.onInit
    ${GetParameters} $0
    ${GetOptions} $0 "/STOP" $1
    ${IfNot} ${Errors}
        !insertmacro SelectSection ${un_stop}
    ${EndIf}
    ClearErrors
FunctionEnd
