/**
 * Generates the reference page of policies: meanings from the comments, defaults from the values, and ranges from the validation errors.
 */
import { issuesOfMonitor, defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { defaultGatePolicy, issuesOfGate, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { defaultQualification } from '../../../domain/model/qualification.ts'
import { issuesOfPolicy } from '../../../domain/release/policy.ts'
import { canary, compileRelease, percent } from '../../../models/define/release.ts'
import { promql } from '../../../models/define/release/external.ts'
import { event } from '../../../models/define/release/event.ts'
import { readDeclarations, type Member } from './members.ts'
import { markdownCode, markdownTable, valueOf } from '../../../test/support/docs/markdown-table.ts'

const files = [
  'release/policy',
  'model/qualification',
  'canary/policy',
  'canary/score-shift',
  'canary/disagreement',
  'canary/business-policy',
  'canary/external/external-policy',
  'canary/alpha-split',
  'canary/ab-test',
  'drill',
  'tasks/output',
  'evaluation/gate-metrics',
  'evaluation/policy',
  'monitoring/policy',
  'monitoring/drift-history',
  'monitoring/retraining-triggers',
]

interface Section {
  title: string
  /** Interface of the section. */
  type: string
  /** Path of the object in the policy: `stages[0]`. */
  at: string
  /** Introduction of the section. */
  about: string
}

interface Whole {
  defaults: object
  /** Name of the type. A field without a default gets a value of its type, so that its range can be read. */
  type: string
  issues?: (policy: never) => string[]
}

const declarations = files.map((file) => readDeclarations(`domain/${file}.ts`))
const types = new Map(declarations.flatMap((each) => [...each.types]))
const unions = new Map(declarations.flatMap((each) => [...each.unions]))

const usual = compileRelease(() => {}, canary({ stages: [percent(5)] }))
const compiled = compileRelease(
  () => {},
  canary({
    stages: [percent(5)],
    business: { revenue: event('', { max: 500 }) },
    external: { complaints: promql('prometheus', '$version', { max: 1 }) },
  }),
).limits

const release: Whole = {
  type: 'ReleasePolicy',
  defaults: {
    ...usual,
    limits: {
      ...usual.limits,
      business: { revenue: { ...compiled.business?.['revenue'], max: undefined } },
      external: { complaints: { ...compiled.external?.['complaints'], query: undefined, max: undefined } },
    },
    qualification: defaultQualification,
    ab: { alpha: 0.05 },
  },
  issues: issuesOfPolicy,
}
const evaluation: Whole = {
  type: 'GatePolicy',
  defaults: defaultGatePolicy('binary'),
  // The issues have the names of the model file, and a colon after the field.
  issues: (policy: GatePolicy) =>
    issuesOfGate({ ...policy, task: 'binary' }).map((issue) =>
      issue.replace(/^sliceLimits/, 'slices').replace(/^([\w.]+):/, '$1'),
    ),
}
const monitor: Whole = {
  type: 'MonitorPolicy',
  defaults: defaultMonitorPolicy,
  issues: issuesOfMonitor,
}

const chapters: readonly { title: string; about: string; whole: Whole; sections: readonly Section[] }[] = [
  {
    title: 'Release',
    about:
      'The compiled `release` of a model file; frozen into every release when it starts, and what `tenure simulate --policy` reads as JSON. The defaults are those of `canary({ stages: [percent(5)] })`.',
    whole: release,
    sections: [
      { title: 'Release', type: 'ReleasePolicy', at: '', about: '' },
      {
        title: 'A stage',
        type: 'StagePolicy',
        at: 'stages[0]',
        about: 'Of `shadow`, `stages` and `hotfix.stages`.',
      },
      {
        title: 'Targeted callers',
        type: 'TargetedPolicy',
        at: 'targeted',
        about:
          'Besides `minMs`, `minRequests` and `deadlineMs` of a stage. A target is `{ header: { name, value } }`, `{ attribute: { name, value } }` or `{ routingKeys: […] }`.',
      },
      { title: 'The probation', type: 'ProbationPolicy', at: 'probation', about: '' },
      { title: 'The watch', type: 'WatchPolicy', at: 'watch', about: '' },
      { title: 'The limits', type: 'CanaryPolicy', at: 'limits', about: 'What the canary judge tolerates.' },
      { title: 'Evidence for a promotion', type: 'PromotionPolicy', at: 'limits.promotion', about: '' },
      { title: 'Sample ratio mismatch', type: 'SrmPolicy', at: 'limits.srm', about: '' },
      {
        title: 'Score shift',
        type: 'ScoreShiftPolicy',
        at: 'limits.scoreShift',
        about: '[How answers are compared](../judgements.md#without-outcomes) without outcomes.',
      },
      { title: 'Disagreement', type: 'DisagreementPolicy', at: 'limits.disagreement', about: '' },
      {
        title: 'The split of α',
        type: 'AlphaSplit',
        at: 'limits.alpha',
        about:
          'Probability that each watch rolls back a release that is no worse than its champion. The sum is at most 0.05.',
      },
      {
        title: 'A business metric',
        type: 'BusinessMetric',
        at: 'limits.business.revenue',
        about: 'Of `limits.business`, by its name. The defaults are those of `event(…)`.',
      },
      {
        title: 'An external metric',
        type: 'ExternalMetric',
        at: 'limits.external.complaints',
        about: 'Of `limits.external`, by its name. The defaults are those of `promql(…)`.',
      },
      { title: 'A/B', type: 'AbPolicy', at: 'ab', about: '' },
      { title: 'Qualification', type: 'QualificationLimits', at: 'qualification', about: '' },
      { title: 'Drills', type: 'DrillPolicy', at: 'drill', about: '' },
    ],
  },
  {
    title: 'Evaluation',
    about: 'The compiled `evaluation` of a model file. The defaults are those of a binary model.',
    whole: evaluation,
    sections: [{ title: 'The gate', type: 'GatePolicy', at: '', about: '' }],
  },
  {
    title: 'Monitor',
    about: 'The compiled `monitor` of a model file.',
    whole: monitor,
    sections: [
      { title: 'Windows', type: 'MonitorPolicy', at: '', about: '' },
      { title: 'The limits of a service', type: 'ServiceLimits', at: 'service', about: '' },
      {
        title: 'Drift',
        type: 'DriftTuning',
        at: 'drift',
        about: 'Periods of a reference are milliseconds before the window, a number or a list of them.',
      },
      { title: 'Business value', type: 'BusinessPolicy', at: 'business', about: '' },
      { title: 'Cost', type: 'CostPolicy', at: 'cost', about: '' },
      { title: 'The cooldown of retraining', type: 'TriggerPolicy', at: 'cooldown', about: '' },
    ],
  },
]

/** Returns the members of a string union. */
function alternativesOf(type: string): string {
  const words = unions.get(type.replace('[]', ''))
  if (words === undefined) return ''
  return `${type.endsWith('[]') ? 'some' : 'one'} of ${words.join(', ')}`
}

/** The path in a model definition of every field that is no object, with its type. */
export const policyWords = (): { path: string; type: string }[] =>
  chapters.flatMap(({ whole, sections }) =>
    sections.flatMap(({ type, at }) =>
      leavesOf(
        membersOf(type),
        [roots[whole.type]!, ...at.split('.')].filter((part) => part !== '').join('.'),
      ),
    ),
  )

const roots: Readonly<Record<string, string>> = {
  ReleasePolicy: 'release',
  GatePolicy: 'evaluation.policy',
  MonitorPolicy: 'monitor',
}

const leavesOf = (members: readonly Member[], place: string): { path: string; type: string }[] =>
  members.flatMap(({ name, type, members: inner }) => {
    const path = `${place.replace('[0]', '.0')}.${name}`
    return inner.length > 0 ? leavesOf(inner, path) : types.has(type) ? [] : [{ path, type }]
  })

export function policyPage(): string {
  return [
    '# Policies',
    '',
    'Every field of the policies by which a model is evaluated, released and monitored. [Model files](model-file.md) have words of',
    'their own, which `tenure models sync` compiles to these fields. All times are milliseconds; shares are basis points or',
    'numbers from 0 to 1, as the name says. "Range" is what the check accepts; of a field without a range it checks the type only.',
    '',
    ...chapters.flatMap(({ title, about, whole, sections }) => [
      `## ${title}`,
      '',
      about,
      '',
      ...sections.flatMap((each) => [
        `### ${each.title}`,
        '',
        ...(each.about === '' ? [] : [each.about, '']),
        markdownTable(
          ['field', 'type', 'default', 'range', 'meaning'],
          rowsOf(membersOf(each.type), { type: each.type, at: each.at, prefix: '' }, whole),
        ),
        '',
      ]),
    ]),
  ].join('\n')
}

function membersOf(name: string): Member[] {
  const found = types.get(name)
  if (found === undefined) throw new Error(`there is no type ${name} in domain/`)
  return found
}

function rowsOf(
  members: readonly Member[],
  place: { type: string; at: string; prefix: string },
  whole: Whole,
): string[][] {
  const { type, at, prefix } = place
  return members.flatMap((member) => {
    const field = `${prefix}${member.name}`
    if (member.meaning === '')
      throw new Error(`${type}.${field} has no comment: write what it means above the field`)
    const inner = rowsOf(member.members, { ...place, prefix: `${field}.` }, whole)
    const path = [...at.split('.'), ...field.split('.')].filter((part) => part !== '').join('.')
    const value = find(whole.defaults, path)
    return [
      [
        markdownCode(`${field}${member.optional ? '?' : ''}`),
        inner.length > 0 ? '' : markdownCode(member.type),
        typeof value === 'object' && value !== null && !Array.isArray(value) ? '' : valueOf(field, value),
        inner.length > 0 ? '' : rangeOf(whole, path) || alternativesOf(member.type),
        member.meaning,
      ],
      ...inner,
    ]
  })
}

/** Returns the validation error for a wrong value. */
function rangeOf({ type, defaults, issues }: Whole, path: string): string {
  if (issues === undefined) return ''
  const complete = completed(membersOf(type), defaults)
  const before = find(complete, path)
  if (typeof before !== 'number' && typeof before !== 'string' && !Array.isArray(before)) return ''
  // A field of the A/B strategy is validated only under that strategy.
  const wrong = { ...structuredClone(complete), ...(path.startsWith('ab.') ? { strategy: 'ab' } : {}) }
  put(wrong, path, typeof before === 'number' ? Number.NaN : Array.isArray(before) ? ['?'] : '?')
  const issue = issues(wrong as never).find((issue) => issue.startsWith(`${path} `))
  if (issue === undefined) return ''
  const sentence = issue.slice(path.length + 1)
  const required =
    /it must (.+)$/.exec(sentence)?.[1] ??
    /^(?:is |lies? |has |are among |names )?(.+?)(?: is required)?,? not (?:at )?\S+(?: ms)?$/.exec(
      sentence,
    )?.[1] ??
    sentence
  return required
    .replace(/^(?:be|lie|are among|and \S+ are) /, '')
    .replaceAll(/\b\d{4,}\b/g, (digits) => Number(digits).toLocaleString('en'))
}

/** Returns the value with every optional part, at any depth. */
const completed = (members: readonly Member[], value: object): object => ({
  ...value,
  ...Object.fromEntries(
    members.map((member) => [member.name, sampleOf(member, (value as Record<string, unknown>)[member.name])]),
  ),
})

function sampleOf({ type, members }: Pick<Member, 'type' | 'members'>, value: unknown): unknown {
  const name = type.replace(/^Partial<(.+)>$/, '$1').replace(/ \| 'off'$/, '')
  const inner = members.length > 0 ? members : types.get(name)
  if (inner !== undefined && (value === undefined || typeof value === 'object'))
    return completed(inner, value ?? {})
  if (value !== undefined) return value
  if (name.endsWith('[]')) return [sampleOf({ type: name.slice(0, -2), members: [] }, undefined)]
  return name === 'number' ? 1 : name === 'boolean' ? true : (unions.get(name)?.[0] ?? '')
}

const steps = (path: string) => path.split(/[.[\]]+/).filter((part) => part !== '')

function find(whole: unknown, path: string): unknown {
  return steps(path).reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[step] : undefined),
    whole,
  )
}

function put(whole: object, path: string, value: unknown): void {
  const names = steps(path)
  const last = names.pop() ?? ''
  const parent = find(whole, names.join('.')) as Record<string, unknown>
  parent[last] = value
}
