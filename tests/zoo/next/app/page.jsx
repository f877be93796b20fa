export default function Page() {
  return <h1>zoo</h1>;
}
