"""Hosts and file endings that lead to no article: lists of our own, by kind, for the selection of OpenWebText's URLs.

The public recipe (the released OpenWebText code, and the list of kinds in Radford et al. 2019, 2.1) leaves out media
hosts, forums and networks that show nothing to a stranger, Wikipedia, and files that are no HTML. These lists follow
it by kind and were written for this project; they are not the released ones name by name.

A host stands for itself and all below it: "imgur.com" covers "i.imgur.com".
"""

__all__ = ["ADULT", "APPS_AND_FILES", "ENDINGS", "FORUMS", "MEDIA", "SHOPS_AND_TOOLS", "WIKIPEDIA"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WIKIPEDIA = frozenset({"wikipedia.org"})

# Pictures, video and sound: no text, or none that a reader would call one.
MEDIA = _words(
    """
    imgur.com redd.it gfycat.com redgifs.com giphy.com gph.is tenor.com flickr.com flic.kr staticflickr.com
    photobucket.com tinypic.com imageshack.us imageshack.com postimg.cc postimg.org postimage.org postimages.org
    min.us minus.com gyazo.com prntscr.com prnt.sc puu.sh imgflip.com memegenerator.net quickmeme.com qkme.me
    livememe.com makeameme.org memecrunch.com makeagif.com sli.mg vidble.com ibb.co picsarus.com supload.com
    deviantart.com fav.me artstation.com pixiv.net 500px.com instagram.com instagr.am pinterest.com pin.it
    twimg.com fbcdn.net ggpht.com gstatic.com googleusercontent.com steamusercontent.com redditmedia.com
    reddituploads.com photos.google.com video.google.com images.google.com youtube.com youtu.be youtube-nocookie.com
    youtubedoubler.com viewsync.net vimeo.com dailymotion.com dai.ly twitch.tv streamable.com streamja.com
    liveleak.com vine.co vid.me metacafe.com ustream.tv periscope.tv pscp.tv coub.com tiktok.com sendvid.com
    nicovideo.jp soundcloud.com bandcamp.com mixcloud.com spotify.com spoti.fi deezer.com tidal.com clyp.it
    vocaroo.com audiomack.com grooveshark.com itunes.apple.com music.apple.com netflix.com hulu.com xboxdvr.com
    xboxclips.com gifsound.com worldstarhiphop.com mangadex.org mangastream.com readms.net
    """
)
# Forums, networks and chats that show little or nothing without an account, and Reddit itself.
FORUMS = _words(
    """
    reddit.com redditpoll.com redditmetrics.com ceddit.com removeddit.com unreddit.com voat.co 4chan.org
    4channel.org 8ch.net twitter.com x.com t.co facebook.com fb.com fb.me plus.google.com groups.google.com vk.com
    weibo.com weibo.cn t.me telegram.me telegram.org discord.gg discord.com discordapp.com snapchat.com whatsapp.com
    steamcommunity.com tapatalk.com myspace.com okcupid.com meetup.com strawpoll.me poll-maker.com surveymonkey.com
    qualtrics.com docs.google.com forms.gle goo.gl
    """
)
ADULT = _words(
    """
    pornhub.com xvideos.com xnxx.com xhamster.com redtube.com youporn.com tube8.com erome.com spankbang.com
    eporner.com youjizz.com xtube.com myvidster.com ashemaletube.com onlyfans.com nhentai.net e-hentai.org
    hentai-foundry.com imagefap.com motherless.com chaturbate.com
    """
)
# Stores of apps and of files.
APPS_AND_FILES = _words(
    """
    play.google.com apps.apple.com drive.google.com dropbox.com dropboxusercontent.com mega.nz mega.co.nz
    mediafire.com zippyshare.com wetransfer.com 1drv.ms sendspace.com filedropper.com openload.co rapidshare.com
    megaupload.com thepiratebay.org thepiratebay.se 1337x.to
    """
)
# What the released code leaves out besides, as far as it is large; its single sites are not repeated here.
SHOPS_AND_TOOLS = frozenset({"ebay.com", "github.com", "google.com", "rollingstone.com", "walmart.com", "xkcd.com"})

# Of the path, lower case: pictures, sound, video, documents, data, archives, programs, fonts, code.
ENDINGS = _words(
    """
    .png .jpg .jpeg .gif .gifv .webp .bmp .tif .tiff .svg .ico .psd .ai .eps
    .mp3 .wav .ogg .oga .flac .m4a .aac .wma .aif .aiff .mid .midi
    .mp4 .m4v .webm .ogv .mkv .avi .mov .qt .wmv .flv .swf .mpg .mpeg .3gp .ram
    .pdf .ps .doc .docx .ppt .pptx .pps .xls .xlsx .odt .rtf .txt .epub .mobi
    .csv .dat .log .xml .rss .json .sql
    .zip .gz .tgz .bz2 .xz .7z .rar .tar .iso .dmg .torrent
    .exe .msi .apk .jar .deb .rpm .pkg .app .bin
    .ttf .otf .woff .js .css .py
    """
)
