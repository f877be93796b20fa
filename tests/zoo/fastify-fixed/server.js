import Fastify from "fastify";

const fastify = Fastify();
fastify.get("/", async () => ({ zoo: true }));
await fastify.listen({ port: 23917 });
