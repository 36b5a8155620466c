/**
 * Judges the contrast of the texts of a page with axe. axe spends half of its time on contrast, and most texts of a page have the colours
 * of texts of another page, so axe judges a text only where its colours and its size have not passed before. A text that another box may
 * lie below is judged each time.
 */
/** Evaluates an expression on the page, and returns what it resolves to, as JSON. */
export type Evaluate = <T>(expression: string) => Promise<T>

/** Colours, backgrounds and sizes of texts that axe has passed, and places of texts on which axe does not decide. */
const judged = new Set<string>()

interface Text {
  /** Its colour and size with all backgrounds around it; absent where a box that is not around it meets it. */
  tone?: string
  /** Its tone, its tag and classes, and where it stands. */
  place: string
}

interface Judgement {
  issues: string[]
  passed: number[]
}

/** Every text of too little contrast on the page as it stands. axe is on the page. */
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

/** Keeps the elements of the texts in `window.texts`. */
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
