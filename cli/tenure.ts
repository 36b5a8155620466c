/** Entry point of the `tenure` command. */
import { commands } from './commands/all-commands.ts'
import { showInPager } from './pager.ts'
import { runProgram } from './program.ts'

// A reader that closes the pipe early, such as `head`, is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await runProgram(commands, process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
  page: showInPager,
})
