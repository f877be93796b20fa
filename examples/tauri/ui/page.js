// The page asks for its server's address; it never guesses one. The order is what makes it free of races:
//  1. subscribe, 2. say "I listen" and get the status as it is now, 3. take whatever is newer.
// The other way round, what changes between the question and the subscription would be missed for ever.
const { invoke } = window.__TAURI__.core;
const { listen } = window.__TAURI__.event;

let shown = -1;

async function show(status) {
  // An event may overtake the answer: the serial says which is newer.
  if (status.serial <= shown) return;
  shown = status.serial;
  const state = document.getElementById("state");
  state.textContent = status.state;
  state.className = status.state;
  document.getElementById("url").textContent = status.url ?? "";
  const said = document.getElementById("said");
  said.textContent = status.why ?? "";
  if (status.state !== "ready") return;
  try {
    said.textContent = await (await fetch(status.url)).text();
    await invoke("saw", { port: Number(new URL(status.url).port), text: said.textContent });
  } catch (error) {
    said.textContent = `no answer: ${error}`;
    await invoke("saw", { port: 0, text: said.textContent });
  }
}

await listen("server", (event) => show(event.payload));
await show(await invoke("page_listens"));
