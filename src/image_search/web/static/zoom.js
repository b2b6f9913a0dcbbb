// The hands' side of looking closer: the wheel and two fingers, as steps of zooming and moving.

/**
 * zoom(factor, x, y): about a point of the window. pan(dx, dy): in its pixels. begin(): two fingers have come down.
 * `count()` of the answer: how many fingers there are.
 */
export function watchZoom(element, { zoom, pan, begin = () => {} }) {
  const fingers = new Map();
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.shiftKey) pan(-(event.deltaX || event.deltaY), event.deltaX ? -event.deltaY : 0);
      else zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.002)), event.clientX, event.clientY); // ctrl: two fingers on a touch pad
    },
    { passive: false },
  );
  const middle = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) begin();
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = fingers.size === 2 && middle();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (!before) return;
    const now = middle();
    zoom(now.apart / before.apart, now.x, now.y);
    pan(now.x - before.x, now.y - before.y);
  });
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => fingers.delete(event.pointerId));
  return { count: () => fingers.size };
}

/** Where a side of `size` begins in a port of `port`, so that `centre` (0 to 1 of it) comes to the middle and no gap is left that need not be. */
export const placed = (size, port, centre) => (size <= port ? (port - size) / 2 : Math.max(port - size, Math.min(0, port / 2 - centre * size)));

/** The centre that leaves no such gap. */
export const held = (size, port, centre) => (size <= port ? 0.5 : Math.max(port / 2 / size, Math.min(1 - port / 2 / size, centre)));
