/**
 * Plays eleven recorded kinds of failures for seven release rules. `npm run bench -- incidents [--seeds 20] [--first 1] [--cases "unit change,silent null"]
 * [--rows 5000] [--program "python3 mine.py"] [--json FILE] [--from FILE,FILE] [--export FOLDER] [--out FILE]`
 *
 * `--program` plays a program of yours besides. `--json` stores the figures after each seed; `--from` writes the page from such files.
 * `--export` writes the cases of the first seed as JSON lines and ends.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readOptions, reportFile } from '../harness/options.ts'
import { allRules } from '../worth/contenders.ts'
import { tenure } from '../worth/tenure/tenure.ts'
import { caseLines, cases, type Case } from './cases.ts'
import { openCalmWeeks, playCase } from './play.ts'
import { programRule } from './program.ts'
import { calmName, incidentsPage, type PlayedSeed } from './report.ts'

const options = readOptions({
  seeds: 20,
  /** The first seed. */
  first: 1,
  cases: '',
  rows: 5_000,
  program: '',
  json: '',
  from: '',
  export: '',
  out: reportFile('incidents/incidents.md'),
})
const startedMs = Date.now()
const say = (line: string) =>
  console.log(`${String(Math.round((Date.now() - startedMs) / 1_000)).padStart(5)} s  ${line}`)

function chosenCases(): readonly Case[] {
  if (options.cases === '') return cases
  return options.cases.split(',').map((name) => {
    const found = cases.find((each) => each.name === name)
    if (found === undefined)
      throw new Error(`no case is called "${name}": use ${cases.map((each) => each.name).join(', ')}`)
    return found
  })
}

async function play(): Promise<PlayedSeed[]> {
  const seeds: PlayedSeed[] = []
  for (let seed = options.first; seed < options.first + options.seeds; seed++) {
    const calm = await openCalmWeeks({ seed, rowsAWeek: options.rows }, { again: true })
    const played: PlayedSeed = { seed, results: {} }
    for (const failure of [undefined, ...chosenCases()]) {
      const rules = [...allRules(), tenure()]
      if (options.program !== '') rules.push(programRule(options.program))
      const results = await playCase(calm, failure, rules)
      const name = failure?.name ?? calmName
      played.results[name] = results
      const figures = results.map(
        ({ rule, harmed, foundAfterDays }) =>
          `${rule} ${harmed}${foundAfterDays === undefined ? '' : ` (found after ${foundAfterDays} d)`}`,
      )
      say(`seed ${seed}, ${name}: ${figures.join(', ')}`)
    }
    seeds.push(played)
    if (options.json !== '') writeFileSync(options.json, JSON.stringify(seeds))
  }
  return seeds
}

function exportCases(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const failure of [undefined, ...chosenCases()]) {
    const file = join(folder, `${(failure?.name ?? calmName).replaceAll(' ', '-')}.jsonl`)
    writeFileSync(
      file,
      caseLines({ seed: 1, rowsAWeek: options.rows }, failure)
        .map((line) => `${line}\n`)
        .join(''),
    )
    say(`${file} is written`)
  }
}

if (options.export !== '') exportCases(options.export)
else {
  const seeds =
    options.from === ''
      ? await play()
      : options.from.split(',').flatMap((file) => JSON.parse(readFileSync(file, 'utf8')) as PlayedSeed[])
  writeFileSync(options.out, incidentsPage(seeds, { rows: options.rows }))
  say(`${options.out} is written`)
}
