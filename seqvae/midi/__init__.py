"""Songs: notes in ticks, with all that a MIDI file says around them; read, checked, written.

The only place that knows a MIDI library. Everything is counted in ticks, never in seconds: a tempo
map moves no note off its beat. Reading is safe: a file is loaded or refused by name and reason,
before anything is sized by what it claims. symusic reads; the bytes we write are our own. In files
of their own beside it: bars cut out of songs (`clips`), and what is read off notes (`parts`,
`keys`, `phrases`).
"""

from .notes import COMMON as COMMON
from .notes import Ints as Ints
from .notes import Key as Key
from .notes import Marker as Marker
from .notes import Metre as Metre
from .notes import MetreChange as MetreChange
from .notes import Notes as Notes
from .notes import Tempo as Tempo
from .notes import fold as fold
from .notes import joined as joined
from .notes import notes_of as notes_of
from .notes import rounded as rounded
from .pretty import to_pretty_midi as to_pretty_midi
from .reading import ENDINGS as ENDINGS
from .reading import Source as Source
from .reading import read as read
from .scores import to_score as to_score
from .scores import tracks_of as tracks_of
from .song import DRUM_CHANNEL as DRUM_CHANNEL
from .song import LIMITS as LIMITS
from .song import QPM as QPM
from .song import TICKS as TICKS
from .song import Bars as Bars
from .song import Limits as Limits
from .song import MidiError as MidiError
from .song import Song as Song
from .song import Track as Track
from .writing import to_bytes as to_bytes
from .writing import write as write
