/**
 * Checks text contrast with axe. Contrast takes half of axe's time, and most texts share their colours with texts of other pages. Therefore
 * axe checks a text only when its combination of colours and size has not passed before. A text that may overlap another box is checked
 * every time.
 */
/** Evaluates an expression on the page and returns its resolved value as JSON. */
export type Evaluate = <T>(expression: string) => Promise<T>

/** Tones (colour, size and backgrounds) that axe has passed, and places of texts that axe cannot decide. */
const judged = new Set<string>()

interface Text {
  /** Colour, size and all backgrounds behind the text; absent when a box that does not contain the text overlaps it. */
  tone?: string
  /** The tone, the tag with its classes, and the position of the text. */
  place: string
}

interface Judgement {
  issues: string[]
  passed: number[]
}

/** Returns the texts with too little contrast on the current page. axe must be loaded on the page. */
export async function contrastIssues(evaluate: Evaluate): Promise<string[]> {
  const texts = await evaluate<Text[]>(findTexts)
  const asked = texts.flatMap(({ tone, place }, i) =>
    tone !== undefined && (judged.has(tone) || judged.has(place)) ? [] : [i],
  )
  if (asked.length === 0) return []
  const { issues, passed } = await evaluate<Judgement>(`(${judgeTexts})(${JSON.stringify(asked)})`)
  const hasPassed = new Set(passed)
  if (issues.length === 0)
    for (const i of asked) {
      const { tone, place } = texts[i]!
      if (tone !== undefined) judged.add(hasPassed.has(i) ? tone : place)
    }
  return issues
}

/** Stores the elements of the texts in `window.texts`. */
const findTexts = `(() => {
  const parts = [...document.body.querySelectorAll('*')].filter((part) => part.checkVisibility())
  const grounds = new Map([[document.documentElement, '']])
  const boxes = []
  for (const part of [document.body, ...parts]) {
    const { backgroundColor, backgroundImage, opacity, mixBlendMode, filter } = getComputedStyle(part)
    const isPainted = backgroundImage !== 'none' || !/^rgba\\(.*, 0\\)$/.test(backgroundColor)
    const isPlain = !isPainted && opacity === '1' && mixBlendMode === 'normal' && filter === 'none'
    const own = isPlain ? '' : [backgroundColor, backgroundImage, opacity, mixBlendMode, filter].join() + ' on '
    grounds.set(part, own + grounds.get(part.parentElement))
    if (isPainted && part !== document.body) boxes.push([part, part.getBoundingClientRect()])
  }
  const isText = (part) =>
    part.matches('input, select, textarea') ||
    [...part.childNodes].some(({ nodeType, nodeValue }) => nodeType === Node.TEXT_NODE && nodeValue.trim() !== '')
  window.texts = parts.filter(isText)
  return window.texts.map((part) => {
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(part)
    const { left, top, right, bottom } = part.getBoundingClientRect()
    const isMet = boxes.some(
      ([box, at]) =>
        left < at.right - 1 && at.left + 1 < right && top < at.bottom - 1 && at.top + 1 < bottom &&
        !box.contains(part) && !part.contains(box),
    )
    const tone = [color, fontSize, fontWeight, textShadow, grounds.get(part)].join()
    const place = [tone, part.tagName, part.getAttribute('class'), left, top, right, bottom].join()
    return isMet ? { place } : { tone, place }
  })
})()`

const judgeTexts = `(asked) => {
  const include = asked.map((i) => window.texts[i])
  const options = { runOnly: ['color-contrast'], resultTypes: ['violations', 'passes'], elementRef: true, preload: false }
  return axe.run({ include }, options).then(({ violations, passes }) => {
    const passed = new Set(passes.flatMap(({ nodes }) => nodes.map(({ element }) => element)))
    return {
      issues: violations.flatMap(({ id, nodes }) =>
        nodes.map(({ target, failureSummary }) => id + ': ' + target.join(' ') + ' ' + failureSummary)),
      passed: asked.filter((i) => passed.has(window.texts[i])),
    }
  })
}`
