/** Formats the figures of messages and reports. */

/** The value with four significant digits; `absent` for null. */
export const fourDigits = (value: number | null, absent = 'undefined'): string =>
  value === null ? absent : String(Number(value.toPrecision(4)))

/** A whole number with a comma between thousands. */
export const groupedDigits = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ',')

/** Formats a number with four significant digits, and with its sign when `signed`. */
export function numberText(value: number | null | undefined, signed = false): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—'
  const text =
    Math.abs(value) >= 1_000 ? groupedDigits(Math.round(value)) : Number(value.toPrecision(4)).toString()
  return signed && value > 0 ? `+${text}` : text.replace(/^-/, '−')
}

/** Formats the value of a metric with four decimals, as `gainText` does. */
export function metricText(value: number | null | undefined): string {
  const size = Math.abs(value ?? 0)
  return value != null && size >= 0.001 && size < 10 ? value.toFixed(4).replace('-', '−') : numberText(value)
}

/** Formats a p-value. Below 0.001, its digits carry no information. */
export const pValueText = (p: number | null): string => (p !== null && p < 0.001 ? '< 0.001' : numberText(p))

/** Formats a difference with its sign and four decimals. */
export function gainText(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—'
  const size = Math.abs(value)
  if (size < 0.00005 || size >= 10) return numberText(Number(value.toPrecision(3)), true)
  return `${value < 0 ? '−' : '+'}${size.toFixed(4)}`
}

/** A text that begins with a capital letter. */
export const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** A number with its noun: `1 row`, `1,200 rows`. */
export const counted = (count: number, noun: string): string =>
  `${groupedDigits(count)} ${noun}${count === 1 ? '' : 's'}`

/** A share of one as a percentage with three significant digits: `0.053 %`, `12 %`; `no` for null. */
export const percentText = (share: number | null): string =>
  share === null ? 'no' : `${Number((100 * share).toPrecision(3))} %`

/** The level of an interval: `95`, `99.963`. */
export const levelPercent = (confidence: number): number => Number((100 * confidence).toPrecision(5))

/** A part of a total; null for an empty total. */
export const ratioOf = (part: number, total: number): number | null => (total > 0 ? part / total : null)

/** A gain with its sign: four decimals, or three significant digits where those are fewer; `undefined` for null. */
export function signedGain(value: number | null, decimals = 4): string {
  if (value === null || !Number.isFinite(value)) return 'undefined'
  const size = Math.abs(value)
  const isFixed = size >= 0.001 && size < 10
  const text = isFixed ? size.toFixed(decimals) : String(Number(size.toPrecision(decimals - 1)))
  return `${value < 0 ? '−' : '+'}${text}`
}

/** The lower bound of a gain beside its limit, with as many decimals as tell them apart: `worst case −0.0092, limit −0.0050`. */
export function worstCaseText(low: number | null, margin: number | null): string {
  const textWith = (decimals: number) => [
    signedGain(low, decimals),
    signedGain(margin === null ? null : -margin, decimals),
  ]
  const [worst, limit] = [4, 6, 8].map(textWith).find(([one, other]) => one !== other) ?? textWith(4)
  return `worst case ${worst}, limit ${limit}`
}

/** The metric as headings write it: `auc` → `AUC`. */
export const metricName = (metric: string): string => metricNames[metric] ?? metric

const metricNames: Readonly<Record<string, string>> = {
  auc: 'AUC',
  rmse: 'RMSE',
  mae: 'MAE',
  f1: 'F1',
  macroF1: 'Macro F1',
  r2: 'R²',
  accuracy: 'Accuracy',
  precision: 'Precision',
  recall: 'Recall',
  pinball: 'Pinball loss',
  coverageError: 'Coverage error',
  brier: 'Brier score',
  logLoss: 'Log loss',
  averagePrecision: 'Average precision',
  recallAtTop: 'Recall at top',
  precisionAtTop: 'Precision at top',
}

/** The metrics in the order of headings; those of a model file last. Postgres returns the keys of a JSON object by their length. */
export const inMetricOrder = (metrics: readonly string[]): string[] => {
  const place = new Map(Object.keys(metricNames).map((name, i) => [name, i]))
  return metrics.toSorted((one, other) => (place.get(one) ?? place.size) - (place.get(other) ?? place.size))
}

const units = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
] as const

/** A limit in the largest unit that divides it: `1 d`, `90 s`. */
export function limitText(ms = 0): string {
  const [unit, name] = units.find(([each]) => ms > 0 && ms % each === 0) ?? [1_000, 's']
  return `${ms / unit} ${name}`
}
