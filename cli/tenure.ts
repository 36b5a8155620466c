/** The `tenure` command. */
import { auditGroup } from './commands/audit.ts'
import { batchGroup } from './commands/batch.ts'
import { releaseCommands, rollbackCommand } from './commands/command.ts'
import { drillCommand, drillsCommand } from './commands/drill.ts'
import { flagsGroup } from './commands/flags.ts'
import { keysGroup } from './commands/keys.ts'
import { liveAtCommand, modelsGroup, versionsCommand } from './commands/models.ts'
import { releaseGroup, releasesCommand } from './commands/releases.ts'
import { resetCommand } from './commands/reset.ts'
import { retrainCommand } from './commands/retrain.ts'
import { simulateCommand } from './commands/simulate.ts'
import { statusCommand } from './commands/status.ts'
import { upCommand } from './commands/up.ts'
import { runProgram } from './program.ts'

const commands = [
  upCommand,
  statusCommand,
  retrainCommand,
  releasesCommand,
  releaseGroup,
  ...releaseCommands,
  rollbackCommand,
  drillCommand,
  drillsCommand,
  modelsGroup,
  versionsCommand,
  liveAtCommand,
  batchGroup,
  flagsGroup,
  keysGroup,
  auditGroup,
  simulateCommand,
  resetCommand,
]

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await runProgram(commands, process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
})
