/** Formats the cases as a page: what each rule let through, when it told a person, what it blocked, and where Tenure does not win. */
import { binomialInterval, studentTwoSidedQuantile, sumOf } from '@tenure/sequential'
import { figureTable, machine, quantileOf, roundedNumber as whole } from '../../../test/support/figures.ts'
import { rivalRules } from '../../../domain/simulation/baseline-rules.ts'
import {
  caseLines,
  cases,
  caseStream,
  caseWeeks,
  digestOf,
  shownAfterDays,
  truthDay,
  truthWeek,
  type CaseSize,
} from './cases.ts'
import type { RuleResult } from './play.ts'

/** The name of the weeks without a failure among the results. */
export const calmName = 'no failure'

export interface PlayedSeed {
  seed: number
  /** By the name of the case, one for each rule. */
  results: Record<string, RuleResult[]>
}

const us = 'Tenure'
const unjudged = 'weekly, unjudged'

interface Interval {
  mean: number
  low: number
  high: number
}

/** The mean with its 95 % interval by Student's t. */
function intervalOf(values: readonly number[]): Interval {
  const mean = sumOf(values) / values.length
  const variance = sumOf(values.map((value) => (value - mean) ** 2)) / Math.max(1, values.length - 1)
  const reach =
    (studentTwoSidedQuantile(0.05, values.length - 1) ?? NaN) * Math.sqrt(variance / values.length)
  return { mean, low: mean - reach, high: mean + reach }
}

const minus = (text: string): string => text.replaceAll('-', '−')
const shown = ({ mean, low, high }: Interval): string => {
  // No figure rounds to −0.
  const [middle, from, to] = [mean, low, high].map((value) => whole(Math.round(value) || 0))
  return minus(low === high ? middle! : `${middle} (${from} to ${to})`)
}

export function incidentsPage(seeds: readonly PlayedSeed[], { rows }: { rows: number }): string {
  const names = Object.keys(seeds[0]!.results)
  const rules = seeds[0]!.results[names[0]!]!.map(({ rule }) => rule)
  const of = (name: string, rule: string): RuleResult[] =>
    seeds.map(({ results }) => results[name]!.find((each) => each.rule === rule)!)
  const figures = (name: string, rule: string, by: (result: RuleResult) => number) =>
    intervalOf(of(name, rule).map(by))
  const table = (cell: (name: string, rule: string) => string, some = names) =>
    figureTable(
      ['case', ...rules],
      some.map((name) => [name, ...rules.map((rule) => cell(name, rule))]),
    )
  const failures = names.filter((name) => name !== calmName)
  const days = 7 * caseWeeks
  const stream = caseStream({ seed: 1, rowsAWeek: rows })
  const afterWeeks = caseWeeks - truthWeek
  return [
    '# Eleven kinds of failures, replayed',
    '',
    `Made by \`npm run bench -- incidents\` on ${machine}, at idle priority beside other work; ${seeds.length} seeds a case.`,
    '',
    'The bench plays eleven kinds of failures that teams have reported of models in production, one at a time, for seven release rules. It asks of each rule: how many answers',
    'did the failure harm, when was a person told, were there alarms before anything was wrong, and were good versions blocked? [Any system can be plugged in](protocol.md) by a small program.',
    '',
    inShort(failures, of),
    '[Where Tenure does not win](#where-tenure-does-not-win) gives the reasons.',
    '',
    `The data are a [rotating hyperplane](../worth/streams.ts), made from a seed: eight numbers, a region and an hour, ${whole(rows)} requests a week, a tenth of the outcomes noise. They drift a little each week.`,
    `A case lasts ${days} days. Its failure begins with day ${truthDay}, the *truth date*. One trainer serves all rules: a network of eight units that learns from up to 4,000 rows of three weeks and is tested on up to 3,000 of the next three days.`,
    '',
    '## Rules',
    '',
    '- *never retrained* keeps the first version.',
    '- *weekly, unjudged* trains each week and uses the new version at once.',
    '- *hold-out threshold* uses the weekly version if its AUC on the test rows is at most 0.02 below that of the first one. A refusal counts as an alarm.',
    `- *Flagger's rules* give the weekly version half of the traffic for an hour: ${rivalRules.flagger}.`,
    `- *Argo's rules* do the same: ${rivalRules.argo}.`,
    '- *champion beside challenger* uses the weekly version if its AUC on the test rows is at most 0.005 below that of the version that serves, on the same rows.',
    "- Both controllers read failed and slow responses. No response of these cases fails, because the model fills missing values. Both accept metrics of one's own, and then decide what that metric says.",
    '- *Tenure* retrains by its default triggers, validates the batch, judges the version at the gate, in shadow, canary and probation, and watches drift and quality. Its judges are the code of the product, as in [a year of models](../worth/worth.md), which describes the simulated people too. Nothing was adjusted to the cases.',
    "- All rules treat a number out of its range as missing, in trainings and in requests (`outside: 'missing'` in a model file), because any script could.",
    '',
    '## Cases',
    '',
    'A *digest* is the first twelve digits of the SHA-256 of the lines of the first seed, as `--export` writes them. *Shown* is the number of days from the truth date until true outcomes can show the harm: where only the training table is wrong, a weekly version has to learn it first. The digest of *feedback loop* is that of the weeks without a failure, because its labels depend on the answers.',
    '',
    ...figureTable(
      'case | what happens | what changes | failing days | shown | digest',
      cases.map((each) => [
        each.name,
        each.about,
        each.change,
        String(7 * each.weeks),
        String(shownAfterDays(stream, each)),
        `\`${shortDigest({ seed: 1, rowsAWeek: rows }, each.name)}\``,
      ]),
      { figures: '---' },
    ),
    '',
    '## Harmed answers',
    '',
    `Wrong decisions in the ${afterWeeks} weeks from the truth date on, of ${whole(afterWeeks * rows)}, above those of clean weekly versions that get sound requests: mean of the seeds with its 95 % interval. Below zero, a rule did better than clean weekly versions, which do not learn that a base rate moves.`,
    '',
    ...table((name, rule) => shown(figures(name, rule, ({ harmed }) => harmed))),
    '',
    '## Answers by a bad version',
    '',
    'A version is *bad* in a week if its AUC on the requests of this week, as they came, is more than 0.01 below the mean of eight clean trainings that get sound requests, with certainty (one-sided 95 %). *never retrained* becomes bad by the drift alone. A base rate that moves changes what a version decides and hardly how it ranks, so it makes none bad.',
    '',
    ...table((name, rule) => shown(figures(name, rule, ({ badAnswers }) => badAnswers))),
    '',
    '## Days until a person is told',
    '',
    'The number of seeds with an alarm after the truth date, and the median of days until the first one. For Tenure, alarms are strong drift, lost quality, a quarantined batch, rows left out as a flood, a question to a person, and a release that was rolled back.',
    '',
    ...table((name, rule) => found(of(name, rule)), failures),
    '',
    ...firstAlarms(failures, (name) => of(name, us)),
    '',
    '## False alarms',
    '',
    `Days with an alarm among the ${truthDay} days of each seed before the truth date, and among the ${days} days of the weeks without a failure, with the 95 % interval of the share.`,
    '',
    ...figureTable(
      'rule | before the truth date | without a failure',
      rules.map((rule) => {
        // The days before the truth date are the same in all cases of a seed.
        const before = sumOf(of(failures[0]!, rule).map(({ falseAlarmDays }) => falseAlarmDays))
        const calm = sumOf(of(calmName, rule).map((each) => each.falseAlarmDays + each.alarmDays))
        return [rule, rate(before, truthDay * seeds.length), rate(calm, days * seeds.length)]
      }),
    ),
    '',
    '## Good versions blocked',
    '',
    `Weeks, of the ${afterWeeks} from the truth date on, in which a rule refused a version that would have ranked the next seven days of requests better than what served, by more than 0.01 of AUC with certainty, or would have decided fewer of them wrongly, by more than one in a hundred, with certainty. For a quarantined batch it is the version that the batch would have given. The last column also counts the weeks in which a person was asked about such a version.`,
    '',
    ...figureTable(
      ['case', ...rules, `${us}, or asked`],
      names.map((name) => {
        const weeks = ({ mean, low, high }: Interval) =>
          low === high
            ? mean.toFixed(1)
            : minus(`${mean.toFixed(1)} (${low.toFixed(1)} to ${high.toFixed(1)})`)
        return [
          name,
          ...rules.map((rule) => weeks(figures(name, rule, ({ blockedWeeks }) => blockedWeeks))),
          weeks(figures(name, us, ({ stoppedWeeks }) => stoppedWeeks)),
        ]
      }),
    ),
    '',
    '## Where Tenure does not win',
    '',
    ...losses({ names: failures, rules, of }),
    '',
  ].join('\n')
}

export const shortDigest = (size: CaseSize, name: string): string =>
  digestOf(
    caseLines(
      size,
      cases.find((each) => each.name === name),
    ),
  ).slice(0, 12)

function found(results: readonly RuleResult[]): string {
  const after = results.flatMap(({ foundAfterDays }) => foundAfterDays ?? [])
  return after.length === 0 ? '–' : `${after.length} of ${results.length}, ${quantileOf(after, 0.5)} d`
}

function rate(days: number, all: number): string {
  const [low, high] = (binomialInterval(days, all).wilson ?? []).map((share) => (100 * share).toFixed(1))
  return `${whole(days)} of ${whole(all)} (${low} to ${high} %)`
}

/** Names what Tenure told first, without the columns of figures. */
function firstAlarms(names: readonly string[], of: (name: string) => RuleResult[]): string[] {
  const rows = names.map((name) => {
    const counts = new Map<string, number>()
    for (const { alarms } of of(name)) {
      const first = alarms.find(({ day }) => day > truthDay)?.text ?? 'nothing'
      const kind = kindOfAlarm(first)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
    const texts = [...counts].toSorted((a, b) => b[1] - a[1]).map(([kind, times]) => `${kind} (${times})`)
    return [name, texts.join(', ')]
  })
  return figureTable("case | Tenure's first alarm, with the number of seeds", rows, { figures: '---' })
}

const alarmKinds: readonly [RegExp, string][] = [
  [/^drift of (.*)/, 'drift of $1'],
  [/^quality lost/, 'lost quality'],
  [/batch is quarantined/, 'a quarantined batch'],
  [/are left out/, 'a flood of one value'],
  [/labels .*inverted/, 'inverted labels'],
  [/^a person is asked/, 'a question to a person'],
  [/rolled.back/, 'a rollback'],
]

function kindOfAlarm(text: string): string {
  const known = alarmKinds.find(([pattern]) => pattern.test(text))
  if (known === undefined) return text
  const [pattern, kind] = known
  return (pattern.exec(text)?.[1] ?? '') === '' ? kind : kind.replace('$1', pattern.exec(text)![1]!)
}

/** Why Tenure loses where it does, as its log shows. */
const reasons: Readonly<Record<string, string>> = {
  'frozen feature':
    'The batches of the failing week are quarantined, so Tenure learns the drift later than a weekly training does. The harm of the frozen values themselves is the same for all rules.',
  'duplicated campaign':
    'The copies have the keys of their rows, and the expectation that keys are unique only warns here, as in the shipped model of flights. The share of the region stays below that of a flood. A model file whose expectation blocks would quarantine the batch; this was not played.',
  'label leakage':
    'Each training has a few days more of the leak, so the AUC never rises at once by the 0.1 from which the gate calls a gain implausible. Lost quality tells a person, but its retraining learns more of the leak.',
  'silent null':
    'The batches of the failing week are quarantined, so Tenure learns the drift later than a weekly training does. The harm of the missing values themselves is the same for all rules.',
  'category renamed':
    'The batches are quarantined, and the simulated person excludes the days with new codes each morning, as if the old codes came back. They do not, so the champion stays for good. A quarantine is the wrong answer to a change that lasts; weekly trainings learn it within two weeks.',
  'time-zone shift':
    'No hour is new and the hours have their usual shares, so validation sees nothing. Lost quality starts trainings that learn the wrong hours, as weekly trainings do, and that are wrong again once the hours are right.',
  'feedback loop':
    "The recorded outcomes agree with the model's answers, so the gate and the monitor, which read no others, measure a good model. Outcomes that do not depend on the answer would show it.",
  'popularity attack':
    'The flood of the value is thinned only once it stands out among the periods of a batch.',
  'seasonal break':
    'Lost quality starts trainings within the season, and they learn it. The rule with a threshold refuses these versions and still has the model of before when the season is over.',
}

/** How many more answers one rule harms than another, on the same seeds. */
const harmedMore = (one: readonly RuleResult[], other: readonly RuleResult[]): Interval =>
  intervalOf(one.map(({ harmed }, seed) => harmed - other[seed]!.harmed))

/** Names the cases in which Tenure harms fewer answers than the unjudged versions, and those in which it does not. */
function inShort(names: readonly string[], of: (name: string, rule: string) => RuleResult[]): string {
  const gains = names.map((name) => ({ name, ...harmedMore(of(name, unjudged), of(name, us)) }))
  const list = (some: readonly { name: string }[]) =>
    some.length === 0 ? 'none' : some.map(({ name }) => name).join(', ')
  return [
    `**In short.** Beside *${unjudged}*, Tenure certainly harms fewer answers in: ${list(gains.filter(({ low }) => low > 0))}.`,
    `Certainly more in: ${list(gains.filter(({ high }) => high < 0))}.`,
    `No certain difference in: ${list(gains.filter(({ low, high }) => low <= 0 && high >= 0))}.`,
  ].join(' ')
}

function losses({
  names,
  rules,
  of,
}: {
  names: readonly string[]
  rules: readonly string[]
  of: (name: string, rule: string) => RuleResult[]
}): string[] {
  const lines = names.flatMap((name) => {
    const own = of(name, us)
    const less = rules.flatMap((rule) => {
      const more = harmedMore(own, of(name, rule))
      return more.low > 0 ? [`*${rule}* harms fewer answers by ${shown(more)}`] : []
    })
    const missed = own.filter(({ foundAfterDays }) => foundAfterDays === undefined).length
    const gain = harmedMore(of(name, unjudged), own)
    const said = [
      ...less,
      ...(less.length === 0 && gain.low <= 0
        ? [`no certain difference to *${unjudged}*, which harms ${shown(gain)} more answers`]
        : []),
      ...(missed > 0 ? [`no person is told in ${missed} of ${own.length} seeds`] : []),
    ]
    if (said.length === 0) return []
    return [`- *${name}*: ${said.join('; ')}.${reasons[name] === undefined ? '' : ` ${reasons[name]}`}`]
  })
  return [
    'Each line compares the seeds in pairs; a difference is named if its 95 % interval excludes zero.',
    '',
    ...lines,
  ]
}
