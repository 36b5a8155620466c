/**
 * Every command of `tenure`, in the order of `tenure --help`. It is data apart from what runs it, so that the reference page is
 * made from the same specs that are executed.
 */
import type { CommandGroup, CommandSpec } from '../program.ts'
import { auditGroup } from './audit.ts'
import { backupCommand, restoreCommand } from './backup.ts'
import { batchGroup } from './batch.ts'
import { releaseCommands, rollbackCommand } from './command.ts'
import { doctorCommand } from './doctor.ts'
import { drillCommand, drillsCommand } from './drill.ts'
import { featuresGroup } from './features.ts'
import { eraseCommand } from './erase.ts'
import { erasuresCommand } from './erasures.ts'
import { exportCommand } from './export.ts'
import { flagsGroup } from './flags.ts'
import { keysGroup } from './keys.ts'
import { liveAtCommand, modelsGroup } from './models.ts'
import { releaseGroup, releasesCommand } from './releases.ts'
import { resetCommand } from './reset.ts'
import { retrainCommand } from './retrain.ts'
import { simulateCommand } from './simulate.ts'
import { statusCommand } from './status.ts'
import { upCommand } from './up.ts'
import { versionsGroup } from './versions.ts'

export const commands: readonly (CommandSpec | CommandGroup)[] = [
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
  versionsGroup,
  liveAtCommand,
  batchGroup,
  featuresGroup,
  exportCommand,
  eraseCommand,
  erasuresCommand,
  flagsGroup,
  keysGroup,
  auditGroup,
  simulateCommand,
  doctorCommand,
  backupCommand,
  restoreCommand,
  resetCommand,
]
