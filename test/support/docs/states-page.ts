/** Generates the documentation page about release states from the reducer. A handwritten table would become wrong with the next change. */
import { format } from 'oxfmt'
import { releaseOutcomes, releaseStages, type ReleaseStage } from '../../../domain/release/state.ts'
import { events, explore, type Tried } from './reachable-states.ts'

const stages = Object.keys(releaseStages) as ReleaseStage[]

/** Lists the results of an event in a stage, over all reachable states of that stage. */
function cellOf(tried: readonly Tried[], stage: ReleaseStage): string {
  const described = new Set<string>()
  for (const { state, after, applied } of tried)
    if (after === undefined) described.add('–')
    else if (!applied && after.stage === state.stage) described.add('ignored')
    else if (after.stage !== stage)
      described.add(after.stage === 'ended' ? `**${after.outcome}**` : after.stage)
    else if (after.stageIndex !== state.stageIndex) described.add('next share')
    else described.add('stays')
  // States of one stage that cannot produce the event do not count when others can.
  if (described.size > 1) described.delete('–')
  return [...described].sort().join(', ')
}

/** Renders the table: first the reports of activities, then the commands. */
export async function statesPage(): Promise<string> {
  const { states, tried } = explore()
  const byEvent = grouped(tried, ({ event }) => event)
  const names = Object.keys(events)
  const ways = new Map<string, Set<string>>()
  for (const { state, event, after } of tried) {
    if (after === undefined || after.stage === state.stage) continue
    const way = `${state.stage} --> ${after.stage}`
    ways.set(way, (ways.get(way) ?? new Set()).add(event))
  }
  const row = (name: string) => {
    const byStage = grouped(byEvent.get(name) ?? [], ({ state }) => state.stage)
    return `| \`${name}\` | ${stages.map((stage) => cellOf(byStage.get(stage) ?? [], stage)).join(' | ')} |`
  }
  const lines = [
    '# The states of a release',
    '',
    'Every event was tried in every state that can be reached: all strategies, with and without approvals, probation and targeted callers, and',
    `the first version of a model. These are ${states.length.toLocaleString('en')} states and ${tried.length.toLocaleString('en')} pairs. In each of them`,
    '`abort` and `rollback` by an authorised user lead to `rolling_back` or to the end.',
    '',
    '## Stages',
    '',
    ...stages.map((stage) => `- \`${stage}\`: ${releaseStages[stage]}`),
    '',
    '## Outcomes',
    '',
    ...Object.entries(releaseOutcomes).map(([name, meaning]) => `- \`${name}\`: ${meaning}`),
    '',
    '## Ways',
    '',
    '```mermaid',
    'stateDiagram-v2',
    '  [*] --> qualifying',
    ...[...ways]
      .sort(([a], [b]) => order(a) - order(b))
      .map(([way, by]) => `  ${way}: ${[...by].sort().join(', ')}`),
    '  ended --> [*]',
    '```',
    '',
    '## Every stage and every event',
    '',
    'Each cell names all that the event can come to, depending on the rest of the state: another stage, an outcome in bold,',
    '`stays` when something is noted and the stage goes on, `next share` within the canary, `ignored` with a sentence that says',
    'why. `–` is a report that the stage cannot produce; it is refused as `invalid_transition`, and the candidate is rolled back.',
    '',
    `| event | ${stages.join(' | ')} |`,
    `| --- | ${stages.map(() => '---').join(' | ')} |`,
    ...names.map(row),
  ]
  const { code } = await format('states.md', `${lines.join('\n')}\n`, { printWidth: 110 })
  return code
}

function grouped<Key>(all: readonly Tried[], keyOf: (each: Tried) => Key): Map<Key, Tried[]> {
  const groups = new Map<Key, Tried[]>()
  for (const each of all) {
    const group = groups.get(keyOf(each))
    if (group) group.push(each)
    else groups.set(keyOf(each), [each])
  }
  return groups
}

/** Stages in the order of a release. */
function order(way: string): number {
  const [from, to] = way.split(' --> ') as [ReleaseStage, ReleaseStage]
  return stages.indexOf(from) * 100 + stages.indexOf(to)
}
