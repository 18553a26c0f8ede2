"""What is measured of a model, one question a file: codes in, figures by name out."""

from .aggregate import information as information
from .aggregate import moments as moments
from .aggregate import units as units
from .bounds import weigh as weigh
from .codes import Codes as Codes
from .codes import encode_all as encode_all
from .events import events as events
from .labelling import labelling as labelling
from .listening import fed_noise as fed_noise
from .listening import shuffled as shuffled
from .match import match as match
from .music import music as music
from .pricing import prices as prices
from .retrieval import retrieval as retrieval
from .structure import structure as structure
from .style import style as style
from .way import way as way
