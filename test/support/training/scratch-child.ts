/** A child process whose job leaves a file in its scratch folder, and then answers or dies as it is told. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { takeJob } from '../../../activities/runtime/child-protocol.ts'

takeJob<{ ending: 'done' | 'failed' | 'killed' | 'hung' }, string, string>(async ({ ending }, parent) => {
  await mkdir(parent.scratch)
  await writeFile(join(parent.scratch, 'file'), 'of the job')
  await parent.report(parent.scratch)
  if (ending === 'failed') throw new Error('on purpose')
  if (ending === 'killed') process.kill(process.pid, 'SIGKILL')
  if (ending !== 'done') await new Promise(() => setInterval(() => {}, 60_000))
  return parent.scratch
})
