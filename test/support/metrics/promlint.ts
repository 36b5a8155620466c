/**
 * Applies the rules of `promtool check metrics` (client_golang, promlint) to a metrics page, because the tool is not available where the
 * tests run. Units: https://prometheus.io/docs/practices/naming/#base-units.
 */

interface Family {
  name: string
  type: string
  hasHelp: boolean
  /** Labels of all samples of the family. */
  labels: string[]
}

const baseUnits = [
  'amperes',
  'bytes',
  'celsius',
  'grams',
  'joules',
  'kelvin',
  'meters',
  'metres',
  'seconds',
  'volts',
]
const prefixes =
  'pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mebi|giga|gibi|tera|tebi|peta|pebi'
const prefixedUnit = new RegExp(`^(${prefixes})(${baseUnits.join('|')})$`)
const otherUnit = /^(minutes|hours|days|weeks|bits|fahrenheit|percent|percentage)$/
const abbreviation = /^(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d)$/
const types = ['gauge', 'counter', 'histogram', 'summary']
const partOfHistogram = /_(bucket|sum|count)$/

/** Returns one line per violation: the metric and the problem. */
export function issuesOfMetrics(page: string): string[] {
  const families = familiesOf(page)
  const issues = families.flatMap((family) =>
    issuesOfFamily(family).map((issue) => `${family.name} ${issue}`),
  )
  const names = families.map(({ name }) => name)
  const twice = names
    .filter((name, index) => names.indexOf(name) !== index)
    .map((name) => `${name} is there twice`)
  return [...issues, ...twice, ...untyped(page, names)]
}

function issuesOfFamily({ name, type, hasHelp, labels }: Family): string[] {
  const words = name.split('_')
  const checks: [boolean, string][] = [
    [!hasHelp, 'has no help'],
    [type === 'counter' && !name.endsWith('_total'), 'is a counter without _total'],
    [type !== 'counter' && name.endsWith('_total'), 'is no counter and ends in _total'],
    [
      type !== 'histogram' && type !== 'summary' && partOfHistogram.test(name),
      'ends as a part of a histogram',
    ],
    [type !== 'histogram' && labels.includes('le'), 'has the label le'],
    [type !== 'summary' && labels.includes('quantile'), 'has the label quantile'],
    [words.some((word) => types.includes(word)), 'has a type in its name'],
    [name.includes(':'), 'has a colon, which is for rules'],
    [[name, ...labels].some((each) => /[a-z][A-Z]/.test(each)), 'is not in snake case'],
    [
      words.some((word) => prefixedUnit.test(word) || otherUnit.test(word)),
      'has a unit that is no base unit',
    ],
    [words.some((word) => abbreviation.test(word)), 'abbreviates its unit'],
  ]
  return checks.filter(([is]) => is).map(([, issue]) => issue)
}

function familiesOf(page: string): Family[] {
  return [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => {
    const samples = page.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{([^\\n]*)\\} `, 'gm'))
    return {
      name,
      type,
      hasHelp: new RegExp(`^# HELP ${name} \\S`, 'm').test(page),
      labels: [...samples].flatMap(([, text = '']) =>
        [...text.matchAll(/([A-Za-z_]\w*)="(?:[^"\\]|\\.)*"/g)].map(([, label = '']) => label),
      ),
    }
  })
}

/** Samples without a declared family; promlint treats them as untyped and without help. */
function untyped(page: string, names: readonly string[]): string[] {
  const sampled = [...page.matchAll(/^([A-Za-z_:][\w:]*)[{ ]/gm)].map(([, name = '']) => name)
  const known = (name: string) => names.includes(name) || names.includes(name.replace(partOfHistogram, ''))
  return [...new Set(sampled)].filter((name) => !known(name)).map((name) => `${name} has no type`)
}
