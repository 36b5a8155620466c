/** Formats the years as a page: who was better, by how much, and what each incident did. */
import { figureTable, machine, roundedNumber as whole, sumBy } from '../harness/figures.ts'
import type { FalsePromotions } from './false-promotions.ts'
import { incidentOf, incidents, weekOfIncident } from './incidents.ts'
import type { ContenderResult, YearResult } from './play.ts'

const us = 'Tenure'
const unjudged = 'weekly, unjudged'
const four = (value: number): string => value.toFixed(4)
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`

const meanAuc = ({ weeks }: ContenderResult): number => sumBy(weeks, ({ auc }) => auc) / weeks.length
const worstAuc = ({ weeks }: ContenderResult): number => Math.min(...weeks.map(({ auc }) => auc))
const total = ({ weeks }: ContenderResult, what: 'answers' | 'harmed' | 'bad'): number =>
  sumBy(weeks, (week) => week[what])
const named = (year: YearResult, name: string): ContenderResult =>
  year.contenders.find((each) => each.name === name)!
const titleOf = ({ stream, withIncidents }: YearResult): string =>
  `${stream}, ${withIncidents ? 'with twelve incidents' : 'calm'}`
export const chartName = ({ stream, withIncidents }: YearResult): string =>
  `${stream}-${withIncidents ? 'incidents' : 'calm'}.svg`

export interface PageFacts {
  /** Requests of a week. */
  rows: number
  gate: readonly FalsePromotions[]
}

export function worthPage(years: readonly YearResult[], { rows, gate }: PageFacts): string {
  return [
    '# Is judging worth having?',
    '',
    `Made by \`npm run bench:worth\` on ${machine}, at idle priority beside other work.`,
    '',
    ...howItIsPlayed(years, rows),
    '',
    '## Results',
    '',
    ...notPlayed(years),
    ...years.flatMap((year) => yearSection(year)),
    '## What was to be reached',
    '',
    ...figureTable(
      ' | Tenure | beside it | reached',
      years.flatMap((year) => targets(year)),
    ),
    '',
    ...policyChanges(gate),
    ...incidentTable(years),
    ...years.flatMap((year) => tenureLog(year)),
  ].join('\n')
}

function howItIsPlayed(years: readonly YearResult[], rows: number): string[] {
  const played = years
    .map((year) => `${titleOf(year)}: ${year.contenders[0]!.weeks.length} of ${year.planned}`)
    .join('; ')
  return [
    'Five contenders play the same weeks with the same trainer, the same split (three weeks train, the last three days test; of the flights six weeks and six days) and the same first version.',
    '',
    '- *never retrained* keeps the first version.',
    '- *weekly, unjudged* uses a new version each week at once.',
    '- *hold-out threshold* does so where the AUC on the test rows is at most 0.02 below that of the first version: what a script around a registry does.',
    "- *Flagger's rules* serve half of the first hour with the new version; failed or slow answers would take it back. Here no answer fails.",
    "- *Tenure* looks at its monitor each day, retrains by the default triggers, and validates, gates and releases as below. Its model file says `outside: 'missing'` of every number.",
    '',
    `A week has about ${whole(rows)} requests, of the flights twice as many. Weeks played: ${played}. A week of the flights is half a recorded week, so that its six weeks are the three of the shipped model.`,
    'The network has 16 units and learns from at most 6,000 rows, of the flights 40,000; at most 3,000 and 12,000 rows test. A training takes no time in the year.',
    '',
    '**What ran.** Everything runs in one process, without servers. The preprocessing, training loop, expectations of a batch, gate, reducer of releases, judge of a',
    'look (`judge` of `activities/release/decide.ts` with score shift, disagreement, hold-back and serving skew), drift, quality, decay and trigger rules are those of the live path.',
    'Postgres, Temporal, replicas and routes are not part of it; `docs/half-year.md` has the flights on the running system. A tick of a release is an hour, and a day is a window of the monitor.',
    '',
    '**People.** A question of a release is answered the next morning: the version with the lower Brier score on the known outcomes of the two days before wins. A quarantine',
    'that names a period is answered by leaving that period out of the source and starting a retraining, each morning until one reaches the gate. Labels that may be inverted',
    '(the gate says so) are answered by leaving out the days on which the champion ranks worse than chance. Each question counts as one person asked; so does a quarantine, unless',
    'a person was told of its column within a week.',
    '',
    '**Figures.** AUC is that of a week on what became true. *Harmed* are the wrong decisions above those of the weekly version of the calm year on the rows without the incident.',
    'A *bad* version has a bug in serving, or ranks the clean rows of its first week worse by 0.01 of AUC than the weekly version of the calm year. *Cost* is seconds of training.',
  ]
}

const streams = ['sea', 'hyperplane', 'flights']

/** A page of fewer years says so. */
function notPlayed(years: readonly YearResult[]): string[] {
  const missing = streams.flatMap((stream) =>
    [false, true].flatMap((withIncidents) =>
      years.some(
        (year) =>
          year.stream === stream &&
          year.withIncidents === withIncidents &&
          year.contenders[0]!.weeks.length === year.planned,
      )
        ? []
        : [`${stream} ${withIncidents ? 'with incidents' : 'calm'}`],
    ),
  )
  return missing.length === 0 ? [] : [`Not played to the end for this page: ${missing.join('; ')}.`, '']
}

function yearSection(year: YearResult): string[] {
  const best = Math.max(...year.contenders.map(meanAuc))
  return [
    `### ${titleOf(year)}`,
    '',
    `![AUC by week](charts/${chartName(year)})`,
    '',
    ...figureTable(
      ' | mean AUC | worst week | harmed answers | answers by a bad version | people asked | trainings | cost',
      year.contenders.map((each) => [
        each.name,
        meanAuc(each) === best ? `**${four(best)}**` : four(meanAuc(each)),
        four(worstAuc(each)),
        whole(total(each, 'harmed')),
        whole(total(each, 'bad')),
        String(each.asked.length),
        String(each.trainings),
        `${whole(each.seconds)} s`,
      ]),
    ),
    '',
  ]
}

function targets(year: YearResult): string[][] {
  const own = named(year, us)
  const weekly = named(year, unjudged)
  const others = year.contenders.filter(({ name }) => name !== us)
  const row = (what: string, here: string, beside: string, reached: boolean) => [
    `${titleOf(year)}: ${what}`,
    here,
    beside,
    reached ? 'yes' : '**no**',
  ]
  if (!year.withIncidents) {
    const gain = meanAuc(own) - meanAuc(weekly)
    return [row('mean AUC not below weekly by 0.0005', four(meanAuc(own)), signed(gain), gain >= -0.0005)]
  }
  const best = others.toSorted((a, b) => meanAuc(b) - meanAuc(a))[0]!
  const steady = others.toSorted((a, b) => worstAuc(b) - worstAuc(a))[0]!
  const [bad, theirs] = [total(own, 'bad'), total(weekly, 'bad')]
  const months = own.weeks.length / (52 / 12)
  return [
    row(
      'better mean than all',
      four(meanAuc(own)),
      `${best.name} ${four(meanAuc(best))}`,
      meanAuc(own) > meanAuc(best),
    ),
    row(
      'better worst week than all',
      four(worstAuc(own)),
      `${steady.name} ${four(worstAuc(steady))}`,
      worstAuc(own) > worstAuc(steady),
    ),
    row(
      'ten times fewer answers by bad versions',
      whole(bad),
      `${unjudged} ${whole(theirs)}`,
      theirs >= 10 * bad && theirs > 0,
    ),
    row(
      'people asked once a month at most',
      String(own.asked.length),
      `${months.toFixed(1)} months`,
      own.asked.length <= months,
    ),
  ]
}

function policyChanges(gate: readonly FalsePromotions[]): string[] {
  return [
    '## What stood in the way',
    '',
    'Before the first two rules were changed, Tenure lost 0.0047 of mean AUC on the calm year of SEA (0.8493, weekly 0.8539).',
    '',
    '- *Anchor.* After an abrupt change the gate refused challengers that were better than the champion, because an earlier release ranked the old world better.',
    '  The anchor now limits `not_worse` only.',
    '- *Calibration.* For eleven weeks it refused challengers whose calibration error was above the limit, although their Brier score was better. A Brier score that is better with certainty now makes this a warning.',
    '- *Cooldown*, not changed. After rejections the next automatic training waits for up to a week, so that an abrupt change is learnt up to a week late: week 14 of SEA lost 0.04.',
    '- *Quarantine.* A column that is empty, frozen or renamed for a week is a third of the rows of a training, below the limits on the batch. Periods of a batch are now judged too.',
    '- *Repair.* After a quarantine the next automatic training waits, twice as long each time. On the hyperplane the champion before "renamed" stayed for three weeks, which lost 0.06 of AUC',
    '  over those weeks. No cooldown holds a person: one who has left a period out starts the retraining at once. Inverted labels were rejected week by week until they were older than the training rows; a person now leaves them out.',
    '- *Requests that are broken.* In the week of the unit every version answered wrongly (0.52). A number outside of its range is now imputed where the model file says so.',
    '- *A bug in serving.* The gate cannot see it, and the hold-back of two days is too small for a fall of 0.03. The monitor scores logged rows again in the window of a promotion, and',
    '  what differs ends the probation. A bug that the process which scores again shares is not found so. No rate of false promotions changes by these three; a sound version differs in no row.',
    '',
    '- *Rolled back.* A version that a person declined counted as a success of its training, so that the next one began the same morning on the same rows and raised the same question:',
    '  in the year of flights with incidents four times within two weeks. Such a training now lengthens the cooldown like one without a better version.',
    '',
    '*Flights*: not reached in one point, the answers by bad versions. In the calm year no version of Tenure is bad. With incidents every fourth week and six weeks of training rows, hardly a training is without rows of an',
    'incident. Six versions of Tenure are bad. Trained once more with their seeds, and without any incident, they rank on the clean rows of their first week (AUC, with the standard error of the difference)',
    '',
    ...figureTable(
      'version | answers | above the weekly one of the calm year | above the version before | without incidents',
      [
        ['v19.3', '14,179', '−0.0112 ± 0.0029', '−0.0136 ± 0.0036', '−0.0093'],
        ['v31.2', '6,187', '−0.0117 ± 0.0030', '+0.0072 ± 0.0032', '+0.0020'],
        ['v34.0', '8,518', '−0.0189 ± 0.0027', '−0.0104 ± 0.0025', '0.0000'],
        ['v37.0, and the bug of v38.0', '36,831', '−0.0217 ± 0.0030', '+0.0058 ± 0.0034', '0.0000'],
        [
          'v40.3, v40.6',
          '15,084',
          '−0.0113, −0.0115 ± 0.0026',
          '−0.0009, −0.0002 ± 0.0020',
          '−0.0012, +0.0054',
        ],
      ],
    ),
    '',
    '- The last three learnt the fraud wave of week 35: with that week clean they differ by −0.0005, −0.0012 and +0.0054. Validation names the wave since then, and warns. It does not block, because a campaign looks',
    '  alike, and so these figures stay; with a question for each of the two floods of the year, 12 would be asked in 10.8 months (not played).',
    '- Four of the six are as good as the version that they replaced, or better. To refuse them would lower the figure, and the AUC as well: *never retrained* has no bad version.',
    '- The other two are worse by 0.0136 and 0.0104, and the next training replaced them after 14,179 and 8,518 answers. On the test rows, which are older, the gate had found v19.3 better and v34.0 not worse.',
    '  With all outcomes known, such a difference is 3.8 and 4.1 standard errors on a whole week of 14,700 rows, so that no test with a small α takes them back sooner.',
    '- The definition is finer than the flights allow. The weekly version of the calm year, trained with another seed on another 40,000 of the same clean rows, differs by a standard deviation of 0.0052, and one of 24 is bad',
    '  (that of week 30, −0.0167). One in 24 (0.1 to 21 %) are 28,000 answers of a year, and a tenth of those of *weekly, unjudged* is 11,793.',
    '- Of versions that are bad and also worse by 0.01 than the one before, *weekly, unjudged* has 43,166 answers (v30.0, v37.0 and the bug of v38.0), and Tenure 22,697 and those of the bug.',
    '',
    'Flights were played before with 24 of 47 weeks, 4,000 requests a week and 6,000 training rows of three weeks: retraining did not pay then, and three points were missed.',
    '',
    'Much of the gain is the imputation, which any script could have too. With the AUC of Tenure in the week of the unit and its aftermath, *weekly, unjudged* would reach about 0.8376 on SEA and 0.9369 on the',
    'hyperplane; with the former AUC of that week, Tenure would reach 0.8428 and 0.9236. The calm years were played before these three changes: in them no number is out of range, no version has a bug and no batch is blocked.',
    '',
    'The first two let a challenger pass that the gate calls `better`. How often that is an error, on 3,000 test rows:',
    '',
    ...figureTable(
      'true difference of AUC | gates | better by AUC | better by Brier',
      gate.map(({ delta, runs, byAuc, byBrier }) => [
        delta === 0 ? '0' : signed(delta),
        whole(runs),
        `${((100 * byAuc) / runs).toFixed(1)} %`,
        `${((100 * byBrier) / runs).toFixed(1)} %`,
      ]),
    ),
    '',
  ]
}

/** The weeks from one incident to the next, which show its aftermath too. */
function incidentTable(years: readonly YearResult[]): string[] {
  const played = years.filter(({ withIncidents }) => withIncidents)
  const spans = (weeks: number, place: number): [number, number] => [
    weekOfIncident(place, weeks),
    place + 1 < incidents.length ? weekOfIncident(place + 1, weeks) : weeks,
  ]
  const cell = (year: YearResult, name: string, place: number): string => {
    const { weeks } = named(year, name)
    const [from, to] = spans(year.planned, place)
    const some = weeks.slice(from, to)
    return some.length < to - from ? '–' : four(sumBy(some, ({ auc }) => auc) / some.length)
  }
  if (played.length === 0) return []
  return [
    '## Incidents',
    '',
    'Each lasts a week. The figures are the mean AUC from its week to the week before the next one, of *weekly, unjudged* and of *Tenure*.',
    '',
    ...figureTable(
      [
        'incident',
        'of the kind',
        ...played.flatMap(({ stream }) => [`${stream}: weekly`, `${stream}: Tenure`]),
      ],
      incidents.map(({ name, kind }, place) => [
        name,
        kind,
        ...played.flatMap((year) => [cell(year, unjudged, place), cell(year, us, place)]),
      ]),
    ),
    '',
  ]
}

function tenureLog(year: YearResult): string[] {
  const { asked } = named(year, us)
  if (asked.length === 0) return []
  return [
    `### People asked: ${titleOf(year)}`,
    '',
    ...asked.map((line) => {
      const week = Number(/^week (\d+)/.exec(line)?.[1])
      const incident = year.withIncidents ? incidentOf(week, year.planned) : undefined
      const text = line.replaceAll('|', '/').replaceAll('`', '').slice(0, 300)
      return `- ${text}${incident === undefined ? '' : ` (*${incident.name}*)`}`
    }),
    '',
  ]
}
