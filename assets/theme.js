// Light or dark before the first paint: as she chose, else as the system says.
const wish = localStorage.getItem("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const chosen = localStorage.getItem("theme");
  document.documentElement.dataset.bsTheme = chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light";
}
paint();
dark.addEventListener("change", paint);
addEventListener("storage", paint);
// Paper is white.
addEventListener("beforeprint", () => { document.documentElement.dataset.bsTheme = "light"; });
addEventListener("afterprint", paint);
if (wish === null) document.documentElement.dataset.themeIsSystem = "";
