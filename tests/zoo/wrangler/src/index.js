export default { fetch: () => new Response("zoo") };
