export default { title: "Zoo" };
export const Animal = { render: () => "<button>zoo</button>" };
