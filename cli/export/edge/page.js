// @ts-check
// Shows a field for each feature, the prediction while the fields change, and whether the golden rows match.
import { loadPredictor } from './predictor.js'

/** @param {string} id */
const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

/** @param {string} id @param {string} text @param {string} [kind] */
function show(id, text, kind = '') {
  const element = find(id)
  element.textContent = text
  element.className = kind
}

/** @param {string} name @param {import('./predictor.ts').Feature} feature @param {unknown} value */
function fieldOf(name, feature, value) {
  const label = document.createElement('label')
  label.append(name)
  const values = feature.kind === 'category' ? feature.values : undefined
  const field = document.createElement(values === undefined ? 'input' : 'select')
  field.name = name
  if (field instanceof HTMLInputElement) {
    field.type = feature.kind === 'number' ? 'number' : 'text'
    if (feature.kind === 'number') field.step = 'any'
    if (feature.missing === 'fill') field.placeholder = 'missing'
  }
  for (const each of [...(feature.missing === 'fill' ? [''] : []), ...(values ?? [])]) {
    const option = document.createElement('option')
    option.textContent = each
    if (values !== undefined) field.append(option)
  }
  field.value = value === null || value === undefined ? '' : String(value)
  label.append(field)
  return label
}

/** @param {import('./predictor.ts').Prediction} answer */
function wordsOf(answer) {
  if ('value' in answer) return String(answer.value)
  const numbers = 'quantiles' in answer ? answer.quantiles : 'values' in answer ? answer.values : undefined
  if (numbers !== undefined)
    return Object.entries(numbers)
      .map(([name, value]) => `${name}  ${value}`)
      .join('\n')
  if ('probability' in answer)
    return `${answer.positive}: ${answer.label ? 'yes' : 'no'}, probability ${answer.probability.toFixed(6)}`
  const rows = Object.entries(answer.probabilities).sort(([, one], [, other]) => other - one)
  return [answer.label, ...rows.map(([name, p]) => `  ${p.toFixed(6)}  ${name}`)].join('\n')
}

try {
  const predictor = await loadPredictor()
  /** @type {import('./predictor.ts').EdgeManifest} */
  const manifest = await (await fetch('manifest.json')).json()
  document.title = manifest.version
  show('name', manifest.version)
  const { rows, worst } = predictor.checkGolden()
  show(
    'golden',
    `${rows} golden rows agree${worst === 0 ? '' : `, the worst to ${worst.toExponential(1)}`}.`,
    'good',
  )
  const form = /** @type {HTMLFormElement} */ (find('row'))
  const example = manifest.golden.instances[0] ?? {}
  for (const [name, feature] of Object.entries(manifest.features))
    form.append(fieldOf(name, feature, example[name]))
  let asked = 0
  const answer = async () => {
    const turn = ++asked
    /** @type {import('./predictor.ts').EdgeRow} */
    const row = {}
    for (const [name, feature] of Object.entries(manifest.features)) {
      const text = String(new FormData(form).get(name) ?? '')
      row[name] = text === '' ? null : feature.kind === 'number' ? Number(text) : text
    }
    /** @type {[text: string, kind?: string]} */
    let words
    try {
      words = [wordsOf((await predictor.predict([row]))[0])]
    } catch (error) {
      words = [/** @type {Error} */ (error).message, 'bad']
    }
    // A later answer may come first, such as the refusal of a row.
    if (turn === asked) show('answer', ...words)
  }
  form.addEventListener('input', () => void answer())
  form.addEventListener('submit', (event) => event.preventDefault())
  await answer()
} catch (error) {
  show('golden', /** @type {Error} */ (error).message, 'bad')
}
