/** Shows a long text in the pager of the user, as git does: `PAGER`, or `less`, which ends at once if the text fits. */
import { spawnSync } from 'node:child_process'
import { environmentWith } from '../temporal.config.ts'

/** Returns whether the text was shown. It is not if `PAGER` is empty, or if the command is missing. */
export function showInPager(text: string): boolean {
  const { PAGER: pager = 'less', LESS = 'FRX', ...environment } = environmentWith({})
  if (pager === '') return false
  // Ctrl-C is a key of the pager. Without a handler it would end this process, and leave the terminal to two programs.
  const ignore = () => {}
  process.on('SIGINT', ignore)
  const { status, error } = spawnSync(pager, {
    shell: true,
    input: text,
    stdio: ['pipe', 'inherit', 'ignore'],
    env: { ...environment, LESS },
  })
  process.off('SIGINT', ignore)
  // A pager that was left before its end has read only a part of the text.
  const wasShown = error === undefined || (error as NodeJS.ErrnoException).code === 'EPIPE'
  return wasShown && status !== commandMissing
}

/** The exit code of a shell that does not find the command. */
const commandMissing = 127
