/**
 * Parses PromQL expressions and lists the metrics and labels that they name. Prometheus does not report a metric that does not exist; an
 * alert on it never fires.
 */

export interface Selected {
  metric: string
  /** Labels in matchers, and labels that group the surrounding series. */
  labels: string[]
}

const functions = [
  'absent',
  'changes',
  'histogram_quantile',
  'increase',
  'rate',
  'clamp_min',
  'time',
  'delta',
  'deriv',
]
const aggregations = ['sum', 'min', 'max', 'avg', 'count', 'topk']
/** Functions that take a range vector such as `metric[5m]`. */
const ofSpans = ['changes', 'increase', 'rate', 'delta', 'deriv']

const lexicon =
  /\s*(?:(?<span>\[(?:\d+(?:ms|[smhdwy])|\$__\w+)(?::(?:\d+[smhd])?)?\])|(?<number>\d+(?:\.\d+)?(?:e-?\d+)?)(?![\w])|(?<duration>\d+(?:ms|[smhdwy]))|(?<text>"(?:[^"\\]|\\.)*")|(?<word>[A-Za-z_:][\w:]*)|(?<sign>=~|!~|==|!=|>=|<=|[-+*/%^(){},=<>]))/y

interface Token {
  kind: string
  text: string
}

function tokensOf(expression: string): Token[] {
  const tokens: Token[] = []
  lexicon.lastIndex = 0
  while (expression.slice(lexicon.lastIndex).trim() !== '') {
    const at = lexicon.lastIndex
    const found = lexicon.exec(expression)
    if (found?.groups === undefined)
      throw new Error(`it cannot be read from "${expression.slice(at, at + 30)}" on`)
    const [kind, text] = Object.entries(found.groups).find(([, value]) => value !== undefined) ?? ['', '']
    tokens.push({ kind, text: text ?? '' })
  }
  return tokens
}

/** Throws an error with a position for an invalid expression. */
export function readPromql(expression: string): Selected[] {
  const tokens = tokensOf(expression)
  const selected: Selected[] = []
  let at = 0
  const peek = () => tokens[at]?.text
  const fail = (wanted: string): never => {
    throw new Error(`${wanted} is wanted, not ${peek() ?? 'its end'} (token ${at + 1})`)
  }
  const take = (text: string) => (peek() === text ? void at++ : fail(text))
  const taken = (text: string): boolean => {
    if (peek() !== text) return false
    at++
    return true
  }
  const word = (): string => (tokens[at]?.kind === 'word' ? tokens[at++]!.text : fail('a name'))

  const names = (): string[] => {
    const all: string[] = []
    take('(')
    while (!taken(')')) {
      all.push(word())
      if (peek() !== ')') take(',')
    }
    return all
  }
  const matchers = (): string[] => {
    const labels: string[] = []
    while (!taken('}')) {
      labels.push(word())
      if (!['=', '!=', '=~', '!~'].some(taken)) fail('a comparison of a label')
      if (tokens[at]?.kind !== 'text') fail('a text in double quotes')
      at++
      if (peek() !== '}') take(',')
    }
    return labels
  }
  const selector = (metric: string): void => {
    selected.push({ metric, labels: taken('{') ? matchers() : [] })
    if (tokens[at]?.kind === 'span') at++
    if (!taken('offset')) return
    if (tokens[at]?.kind !== 'duration') fail('a duration')
    at++
  }
  const grouped = (from: number, labels: readonly string[]): void => {
    for (const each of selected.slice(from)) each.labels.push(...labels)
  }
  const aggregation = (): void => {
    const from = selected.length
    const early = ['by', 'without'].some(taken) ? names() : []
    take('(')
    list()
    const late = ['by', 'without'].some(taken) ? names() : []
    grouped(from, [...early, ...late])
  }
  const list = (): void => {
    whole()
    while (taken(',')) whole()
    take(')')
  }
  const operand = (): void => {
    if (taken('-') || taken('+')) return operand()
    if (taken('(')) {
      whole()
      return take(')')
    }
    if (tokens[at]?.kind === 'number') return void at++
    const name = word()
    if (aggregations.includes(name)) return aggregation()
    if (peek() !== '(') return selector(name)
    if (!functions.includes(name)) throw new Error(`there is no function ${name} here`)
    take('(')
    const from = at
    if (taken(')')) return
    list()
    if (ofSpans.includes(name) && !tokens.slice(from, at).some(({ kind }) => kind === 'span'))
      throw new Error(`${name} is of a span: metric[5m]`)
  }
  const operators = ['+', '-', '*', '/', '%', '^', '==', '!=', '>', '<', '>=', '<=', 'and', 'or', 'unless']
  const whole = (): void => {
    operand()
    while (operators.some(taken)) {
      taken('bool')
      if (['on', 'ignoring'].some(taken)) {
        names()
        if (['group_left', 'group_right'].some(taken) && peek() === '(') names()
      }
      operand()
    }
  }
  whole()
  if (at < tokens.length) fail('an operator or the end')
  return selected
}
