/**
 * Measures the cost of losing everything: rows since the last copy (RPO) and the time until predictions are served again (RTO); writes
 * packages/lab/recovery/recovery.md. `npm run bench -- recovery --rounds 3 --seconds 60 [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, roundedNumber as whole } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { runRecoveryDrill, type DrillReport } from './drill.ts'

const options = readOptions({ rounds: 3, seconds: 60, out: reportFile('recovery/recovery.md') })
const reports: DrillReport[] = []
for (let round = 0; round < options.rounds; round++) {
  // The moment within a log segment differs each time.
  const report = await runRecoveryDrill({ loadSeconds: options.seconds + 7 * round })
  reports.push(report)
  console.log(JSON.stringify(report))
}
writeFileSync(options.out, page())

function page(): string {
  const seconds = (value: number) => value.toFixed(1)
  const largest = (of: (each: DrillReport) => number) => Math.max(...reports.map(of))
  return [
    '# Everything deleted, and restored',
    '',
    `Made by \`npm run bench -- recovery --rounds ${options.rounds} --seconds ${options.seconds}\` on ${machine}.`,
    '',
    'A system of two replicas, a control worker, Postgres and Temporal serves predictions, and a release is in its canary. The test kills all processes and',
    'deletes the whole state: database, artifacts, heads of the audit log, Temporal. It puts back the signing keys, as [Backup](../../docs/backup.md) requires.',
    'Then `tenure restore --at latest` reads the bucket, and the system starts. A row written every 50 ms shows what is lost.',
    '',
    '**RPO** is the age of the newest restored row at the moment of the deletion. **RTO** is the time from the deletion to the first answered prediction,',
    'without the time in which a person decides to restore. The machine was shared with other work.',
    '',
    `Largest RPO **${seconds(largest((each) => each.rpoSeconds))} s** (wanted: 60), largest RTO **${seconds(largest((each) => each.rtoSeconds))} s** (wanted: 300).`,
    '',
    ...figureTable(
      'round | RPO s | RTO s | restore s | start s | rows written | lost | predictions restored | log files | log MB | base MB',
      reports.map((each, index) => [
        String(index + 1),
        seconds(each.rpoSeconds),
        seconds(each.rtoSeconds),
        seconds(each.restoreSeconds),
        seconds(each.startSeconds),
        whole(each.marks.written),
        whole(each.marks.lost),
        whole(each.predictions.restored),
        String(each.objects.logFiles),
        each.objects.logMb.toFixed(1),
        each.objects.baseMb.toFixed(1),
      ]),
    ),
    '',
    ...reports.map(
      (each, index) =>
        `Round ${index + 1}: the release was in \`${each.release.stage}\` and ended as \`${each.release.outcome}\`; the champion ${each.champion ? 'serves' : '**does not serve**'}, its candidate gave ${each.byCandidate} answers after the restore, ${each.missing} files are missing, and the log is ${each.keptAgain ? 'kept again' : '**not kept again**'}.`,
    ),
    '',
  ].join('\n')
}
