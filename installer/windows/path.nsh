; The user's PATH, which may be longer than a string of NSIS (1,024 characters): so it is never held in one. It is read into
; memory of its own, as `;first;second;…`, and written back with nothing changed but one folder at its end.
;
;   ${AddToPath} FOLDER            unless it is there
;   ${RemoveFromPath} FOLDER
;   ${IsInPath} FOLDER $RESULT     1 or 0

!define KEY_CURRENT_USER "p -2147483647"
!define KEY_QUERY_VALUE_SET_VALUE 3
!define KIND_EXPAND_SZ 2
!define FILE_NOT_FOUND 2

!macro AddToPath folder
    Push "${folder}"
    Call AddToPath
!macroend
!define AddToPath "!insertmacro AddToPath"

!macro RemoveFromPath folder
    Push "${folder}"
    Call un.RemoveFromPath
!macroend
!define RemoveFromPath "!insertmacro RemoveFromPath"

!macro IsInPath folder result
    Push "${folder}"
    Call IsInPath
    Pop ${result}
!macroend
!define IsInPath "!insertmacro IsInPath"

; In: $R0 the folder. Out: $0 the key, nought when it cannot be read; $1 the kind of the value; $2 the memory, with `;` before
; and after what was there and room for one folder more; $3 where `;FOLDER;` stands in it, or nought.
!macro ReadPath un
Function ${un}ReadPath
    StrCpy $1 ${KIND_EXPAND_SZ}
    StrCpy $2 0
    StrCpy $3 0
    System::Call 'advapi32::RegOpenKeyExW(${KEY_CURRENT_USER}, w "Environment", i 0, i ${KEY_QUERY_VALUE_SET_VALUE}, *p .r0) i .r4'
    ${If} $4 <> 0
        StrCpy $0 0
        Return
    ${EndIf}
    StrCpy $5 0
    System::Call 'advapi32::RegQueryValueExW(p r0, w "Path", p 0, *i .r6, p 0, *i .r5) i .r4'
    ${If} $4 = 0
        StrCpy $1 $6
    ${ElseIf} $4 = ${FILE_NOT_FOUND}
        StrCpy $5 0
    ${Else}
        System::Call 'advapi32::RegCloseKey(p r0)'
        StrCpy $0 0
        Return
    ${EndIf}
    StrLen $6 $R0
    IntOp $6 $6 + 8
    IntOp $6 $6 * 2
    IntOp $6 $6 + $5
    ; It is empty: all noughts.
    System::Alloc $6
    Pop $2
    System::Call 'kernel32::lstrcatW(p r2, w ";")'
    ${If} $5 > 2
        IntPtrOp $6 $2 + 2
        System::Call 'advapi32::RegQueryValueExW(p r0, w "Path", p 0, p 0, p r6, *i r5) i .r4'
        Call ${un}EndsInSemicolon
        ${If} $4 = 0
            System::Call 'kernel32::lstrcatW(p r2, w ";")'
        ${EndIf}
    ${EndIf}
    StrCpy $R1 ";$R0;"
    System::Call 'shlwapi::StrStrIW(p r2, w R1) p .r3'
FunctionEnd

; Out: $4 is 1 when what is in $2 ends so.
Function ${un}EndsInSemicolon
    System::Call 'kernel32::lstrlenW(p r2) i .r4'
    IntOp $4 $4 - 1
    IntOp $4 $4 * 2
    IntPtrOp $4 $2 + $4
    System::Call 'kernel32::lstrcmpW(p r4, w ";") i .r6'
    ${If} $6 = 0
        StrCpy $4 1
    ${Else}
        StrCpy $4 0
    ${EndIf}
FunctionEnd

; Writes what is in $2 after its first `;`, and tells programs that run.
Function ${un}WritePath
    IntPtrOp $5 $2 + 2
    System::Call 'kernel32::lstrlenW(p r5) i .r6'
    ${If} $6 = 0
        System::Call 'advapi32::RegDeleteValueW(p r0, w "Path")'
    ${Else}
        IntOp $6 $6 + 1
        IntOp $6 $6 * 2
        System::Call 'advapi32::RegSetValueExW(p r0, w "Path", i 0, i r1, p r5, i r6)'
    ${EndIf}
    SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
FunctionEnd

Function ${un}ClosePath
    ${If} $2 <> 0
        System::Free $2
    ${EndIf}
    ${If} $0 <> 0
        System::Call 'advapi32::RegCloseKey(p r0)'
    ${EndIf}
FunctionEnd
!macroend
!insertmacro ReadPath ""
!insertmacro ReadPath "un."

Function AddToPath
    Pop $R0
    Call ReadPath
    ${If} $0 <> 0
    ${AndIf} $3 = 0
        System::Call 'kernel32::lstrcatW(p r2, w R0)'
        Call WritePath
    ${EndIf}
    Call ClosePath
FunctionEnd

Function IsInPath
    Pop $R0
    Call ReadPath
    ${If} $3 = 0
        StrCpy $4 0
    ${Else}
        StrCpy $4 1
    ${EndIf}
    Push $4
    Call ClosePath
FunctionEnd

Function un.RemoveFromPath
    Pop $R0
    Call un.ReadPath
    ${If} $3 <> 0
        ; What follows moves to where the folder began, with the `;` before it.
        StrLen $4 $R1
        IntOp $4 $4 - 1
        IntOp $4 $4 * 2
        IntPtrOp $4 $3 + $4
        System::Call 'kernel32::lstrlenW(p r4) i .r5'
        IntOp $5 $5 + 1
        IntOp $5 $5 * 2
        System::Call 'ntdll::memmove(p r3, p r4, p r5)'
        ; The last `;` was put there by ReadPath. Where nothing else is left, it is the first as well.
        System::Call 'kernel32::lstrlenW(p r2) i .r4'
        ${If} $4 > 1
            IntOp $4 $4 - 1
            IntOp $4 $4 * 2
            IntPtrOp $4 $2 + $4
            System::Call '*$4(&i2 0)'
        ${EndIf}
        Call un.WritePath
    ${EndIf}
    Call un.ClosePath
FunctionEnd
