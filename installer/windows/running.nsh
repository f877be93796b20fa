; ${EndProgram} PATH: ends the processes that run the program at PATH, or what it was renamed to by an upgrade. Others of the
; same name are somebody else's.

!define MAY_TERMINATE_AND_ASK 0x101001 ; PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_TERMINATE | SYNCHRONIZE
!define ROOM_FOR_PROCESSES 65536
!define PATIENCE_MS 5000

!macro EndProgram path
    Push "${path}"
    Call un.EndProgram
!macroend
!define EndProgram "!insertmacro EndProgram"

Function un.EndProgram
    Pop $R0
    StrLen $R1 $R0
    System::Alloc ${ROOM_FOR_PROCESSES}
    Pop $0
    System::Call 'kernel32::K32EnumProcesses(p r0, i ${ROOM_FOR_PROCESSES}, *i .r1)'
    StrCpy $2 0
    ${While} $2 < $1
        IntPtrOp $3 $0 + $2
        System::Call '*$3(i .r4)'
        System::Call 'kernel32::OpenProcess(i ${MAY_TERMINATE_AND_ASK}, i 0, i r4) p .r5'
        ${If} $5 <> 0
            StrCpy $7 ${NSIS_MAX_STRLEN}
            StrCpy $6 ""
            System::Call 'kernel32::QueryFullProcessImageNameW(p r5, i 0, w .r6, *i r7)'
            ; A renamed one goes on after it: `.1.old`.
            StrCpy $8 $6 $R1
            StrCpy $9 $6 "" $R1
            StrCpy $9 $9 1
            ${If} $8 == $R0
                ${If} $9 == ""
                ${OrIf} $9 == "."
                    System::Call 'kernel32::TerminateProcess(p r5, i 0)'
                    System::Call 'kernel32::WaitForSingleObject(p r5, i ${PATIENCE_MS})'
                ${EndIf}
            ${EndIf}
            System::Call 'kernel32::CloseHandle(p r5)'
        ${EndIf}
        IntOp $2 $2 + 4
    ${EndWhile}
    System::Free $0
FunctionEnd
