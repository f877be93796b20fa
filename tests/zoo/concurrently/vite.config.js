const api = `http://localhost:${process.env.API_PORT || 4000}`;
export default { server: { proxy: { "/api": api } } };
