/** Defines which program trains a model, where its model file has no training function. */

/** A training that is interrupted each time, such as by a kill, ends after so many attempts. */
export const maxTrainingAttempts = 10

/** What holds for a program, whatever its language. */
export interface ProgramLimits {
  /** MiB of memory of each process of the program; TENURE_TRAINING_MEMORY_MB when absent. */
  memoryMb?: number
  /** An attempt that takes longer fails the training; 24 hours when absent. */
  limitMs?: number
  /** An attempt without any output for this long is ended and tried again. */
  silenceMs?: number
}

export type Trainer =
  /** A Python script. Paths are relative to the folder of the model file. */
  | ({ kind: 'python'; file: string; requirements?: string } & ProgramLimits)
  /** Any other program with its arguments, run in the folder of the model file. */
  | ({ kind: 'command'; command: string[] } & ProgramLimits)
  /** Workers of a task queue of one's own, which run the activity `train` by the same contract. */
  | ({ kind: 'queue'; queue: string } & ProgramLimits)
