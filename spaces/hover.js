// Beside the point of a map that the pointer is on: its images and its words.
//
// A map says in layout.meta.sprite which hidden <img> holds the pictures of its rows: a grid of data-columns, the
// images of the first modality first, data-count of each, data-modalities times. A point's customdata is its row.
(() => {
  const SIDE = 96;
  let card = null;

  function tile(sprite, number) {
    const { columns, rows } = sprite.dataset;
    const picture = document.createElement("span");
    picture.className = "tile-image";
    picture.style.backgroundImage = `url(${sprite.src})`;
    picture.style.backgroundSize = `${SIDE * columns}px ${SIDE * rows}px`;
    picture.style.backgroundPosition = `${-SIDE * (number % columns)}px ${-SIDE * Math.floor(number / columns)}px`;
    return picture;
  }

  function show(event, plot) {
    const point = event.points.find((each) => each.customdata !== undefined);
    if (!point) return;
    hide();
    card = document.createElement("div");
    card.id = "hover-card";
    const sprite = document.getElementById(plot.layout.meta?.sprite);
    if (sprite) {
      for (let k = 0; k < sprite.dataset.modalities; k += 1) {
        card.append(tile(sprite, k * sprite.dataset.count + Number(point.customdata)));
      }
    }
    const words = document.createElement("div");
    words.textContent = point.text;
    card.append(words);
    document.body.append(card);
    const box = card.getBoundingClientRect();
    const { clientX: x, clientY: y } = event.event;
    const left = x + 16 + box.width < window.innerWidth ? x + 16 : x - 16 - box.width;
    card.style.left = `${Math.max(4, left)}px`;
    card.style.top = `${Math.max(4, Math.min(y + 16, window.innerHeight - box.height - 4))}px`;
  }

  function hide() {
    card?.remove();
    card = null;
  }

  new MutationObserver(() => {
    for (const plot of document.querySelectorAll(".js-plotly-plot:not([data-cards])")) {
      if (!plot.on) continue;
      plot.dataset.cards = "yes";
      plot.on("plotly_hover", (event) => show(event, plot));
      plot.on("plotly_unhover", hide);
    }
  }).observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("scroll", hide, true);
})();
