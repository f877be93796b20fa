export default function Home() {
  return <h1>zoo</h1>;
}
