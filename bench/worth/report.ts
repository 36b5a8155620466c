/** Formats the years as a page: who was better, by how much, and what each incident did. */
import { figureTable, machine, roundedNumber as whole, sumBy } from '../harness/figures.ts'
import type { FalsePromotions } from './false-promotions.ts'
import { incidentOf, incidents, weekOfIncident } from './incidents.ts'
import { campaignRows, type CampaignFigure } from './campaigns.ts'
import type { BadBy, ContenderResult, YearResult } from './play.ts'

const us = 'Tenure'
const unjudged = 'weekly, unjudged'
const four = (value: number): string => value.toFixed(4)
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`

const meanAuc = ({ weeks }: ContenderResult): number => sumBy(weeks, ({ auc }) => auc) / weeks.length
const worstAuc = ({ weeks }: ContenderResult): number => Math.min(...weeks.map(({ auc }) => auc))
const harmed = ({ weeks }: ContenderResult): number => sumBy(weeks, (week) => week.harmed)
const badAnswers = ({ weeks }: ContenderResult, by: BadBy): number => sumBy(weeks, ({ bad }) => bad[by])
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
  campaigns: readonly CampaignFigure[]
}

export function worthPage(years: readonly YearResult[], { rows, gate, campaigns }: PageFacts): string {
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
    ...campaignSection(campaigns),
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
    'That weekly version is one training, and another one of the same rows with another seed differs from it: half of the difference may be the luck of the reference. So the same versions are judged',
    'in two more ways. *By eight*: worse by 0.01 than the mean AUC of eight such trainings, with other seeds and other samples of the same clean rows. *With certainty*: the one-sided 95 % interval of that',
    'difference lies beyond 0.01; its standard error has the rows (DeLong, beside each of the eight) and the seeds. All contenders are judged alike, and a bug in serving counts each time.',
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

const badBys: readonly BadBy[] = ['thanOne', 'thanMean', 'certain']
const badByTexts: Readonly<Record<BadBy, string>> = {
  thanOne: '',
  thanMean: ', by eight',
  certain: ', with certainty',
}

function yearSection(year: YearResult): string[] {
  const best = Math.max(...year.contenders.map(meanAuc))
  return [
    `### ${titleOf(year)}`,
    '',
    `![AUC by week](charts/${chartName(year)})`,
    '',
    ...figureTable(
      ' | mean AUC | worst week | harmed answers | answers by a bad version | so by eight | so with certainty | people asked | trainings | cost',
      year.contenders.map((each) => [
        each.name,
        meanAuc(each) === best ? `**${four(best)}**` : four(meanAuc(each)),
        four(worstAuc(each)),
        whole(harmed(each)),
        ...badBys.map((by) => whole(badAnswers(each, by))),
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
    ...badBys.map((by) => {
      const [bad, theirs] = [badAnswers(own, by), badAnswers(weekly, by)]
      const what = `ten times fewer answers by bad versions${badByTexts[by]}`
      return row(what, whole(bad), `${unjudged} ${whole(theirs)}`, theirs >= 10 * bad && theirs > 0)
    }),
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
    '*Flights*: with floods thinned, Tenure has 5.8 times fewer answers by bad versions than *weekly, unjudged*: not ten times. By eight it has 19 times fewer, and with certainty none. The calm year has no bad',
    'version of Tenure by any of the three. With incidents every fourth week and six weeks of training rows, hardly a training is without rows of an incident. Bad by one of the three were',
    '',
    ...figureTable('version | answers | below the one | below the eight, with its standard error', [
      ['*weekly, unjudged*: v12.0', '14,219', '0.0103', '0.0084 ± 0.0028'],
      ['v23.0', '14,568', '0.0278', '0.0290 ± 0.0027, certain'],
      ['v24.0', '14,060', '0.0253', '0.0256 ± 0.0032, certain'],
      ['v30.0', '14,677', '0.0351', '0.0302 ± 0.0050, certain'],
      ['v33.0', '14,845', '0.0077', '0.0125 ± 0.0030'],
      ['v35.0', '17,139', '0.0118', '0.0148 ± 0.0027, certain'],
      ['v37.0', '14,094', '0.0217', '0.0215 ± 0.0031, certain'],
      ['v38.0, a bug in serving', '14,395', '0.0044', '0.0021 ± 0.0038'],
      ['v39.0', '14,782', '0.0132', '0.0176 ± 0.0030, certain'],
      ["*Tenure, `floods: 'warn'`*: v19.3", '14,179', '0.0112', '0.0065 ± 0.0032'],
      ['v31.2', '6,187', '0.0117', '0.0124 ± 0.0033'],
      ['v34.0', '8,518', '0.0189', '0.0176 ± 0.0036, certain'],
      ['v37.0', '36,275', '0.0217', '0.0215 ± 0.0031, certain'],
      ['v38.0, a bug in serving', '556', '0.0044', '0.0021 ± 0.0038'],
      ['v40.3, v40.6', '15,084', '0.0113, 0.0115', '0.0102, 0.0104 ± 0.0028'],
      ["*Tenure, `floods: 'thin'`*: v19.3", '14,179', '0.0112', '0.0065 ± 0.0032'],
      ['v31.2', '6,187', '0.0117', '0.0124 ± 0.0033'],
    ]),
    '',
    "- *Floods.* With `floods: 'warn'`, as it was before, Tenure has 80,799 answers by bad versions (66,620 by eight, 45,349 with certainty; mean AUC 0.6614): 51,359 of them by v37.0, v40.3 and v40.6, which",
    '  learnt the fraud wave of week 35. Validation names such a wave, and the snapshot now has the usual share of the value. All batches from week 35.5 on were thinned, because they had the wave or the',
    '  poisoned slice, and one of week 25, in which the wrong time zone had moved an hour. No version from week 35 on is bad by any of the three.',
    '- That v34.0 and the answers with the bug of v38.0 are gone too is luck: the batch of week 25 changed which versions came after it. With them, and without the wave, Tenure would have 29,440, 15,261 and 9,074',
    '  answers beside 117,934, 118,560 and 103,715: ten times fewer with certainty only.',
    '- *By one* calls noise bad. Of 376 clean trainings (eight of each of 47 weeks, which differ by a standard deviation of 0.0036) 8 are bad beside the weekly version of the calm year, 3 beside the',
    '  mean of the other seven, and none with certainty. Both further definitions were chosen before anything was measured by them, but when the figures of the first were known. *With certainty* leaves out what is worse by less than about 0.015.',
    '  By one, a tenth of *weekly, unjudged* is 11,793 answers, fewer than one version gives in a week: a system that trained on clean rows alone would be below that in a third of such years ((1 − 8/376)⁴⁷ = 0.36).',
    '- v19.3 is bad by one only: against the eight it is worse by 0.0065. On the test rows the gate had found it better than the version before. v31.2 was better than the version before by 0.0072 ± 0.0032.',
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

function campaignSection(campaigns: readonly CampaignFigure[]): string[] {
  if (campaigns.length === 0) return []
  return [
    '## Floods and campaigns',
    '',
    'What the policies for floods cost and save, on the flights: the mean AUC of the week after a training, over waves of five airports in five weeks. A *wave* lasts a week and is over: 15 % more',
    'rows of one airport, all late. A campaign lasts: *as ever* with rows and labels of its airport, *all yes* with the rows of the wave. One training differs from the next by a standard deviation of 0.005.',
    '',
    ...figureTable('kind | weeks after its begin | thin | leave_out | warn | found', campaignRows(campaigns)),
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
